"""Ternary factors: FFN's W ~ X diag(d) Y^T with X and Y in {-1, 0, 1}.

Source: Wang and Cheng, "Fixed-point Factorized Networks", CVPR 2017, arXiv 1611.01972
(the improved semidiscrete decomposition; X and Y of inner rank k; latent factors for
fine-tuning) and its label-free follow-up (error-corrected responses instead of weights).
Ours: moments in place of samples, a scale per output, joint descent on all terms, the
rounding of the product to int8, base-3 codes.
"""
