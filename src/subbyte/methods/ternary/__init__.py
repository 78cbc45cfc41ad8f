"""Ternary factors: FFN's W ~ X diag(d) Y^T with X and Y in {-1, 0, 1}.

Source: Wang and Cheng, "Fixed-point Factorized Networks", CVPR 2017, arXiv 1611.01972
(the improved semidiscrete decomposition; X and Y of inner rank k; latent factors for
fine-tuning) and its label-free follow-up (error-corrected responses instead of weights).
Ours: moments in place of samples, a scale per output, joint descent on all terms, the
rounding of the product to int8, base-3 codes.
"""

from __future__ import annotations

from subbyte.methods.base import Method
from subbyte.methods.ternary import cost, encode, form, search
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.methods.ternary.trainable import trainable

METHOD = Method(
    name="ternary",
    paper="FFN (Wang and Cheng, CVPR 2017, arXiv 1611.01972)",
    becomes="X diag(d) Y^T with X and Y in {-1, 0, 1}",
    bits="1-4",
    summary=(__doc__ or "").splitlines()[0],
    options=TernaryOptions,
    stored_bytes=form.stored_bytes,
    blank=form.blank,
    decode=form.decode,
    weight_nodes=form.weight_nodes,
    options_of=form.options_of,
    encode=encode.encode,
    default=search.default,
    search=search.search,
    trainable=trainable,
    operations=cost.operations,
    check=search.check,
    check_given=search.check_given,
)
