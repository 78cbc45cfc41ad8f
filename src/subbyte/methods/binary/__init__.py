"""Binary weights on binary activations: HORQ's residual signs, XNOR-Net at order 1.

Source: Li et al., "Performance Guaranteed Network Acceleration via High-Order Residual
Quantization", ICCV 2017, arXiv 1708.08687 (inputs of order K with scales a column; weights
as in XNOR-Net, Rastegari et al., ECCV 2016, arXiv 1603.05279). Ours: signs and scales fitted
to the moments of the binarized inputs for networks that were not trained for it; scales a
pixel and an image for every order.
"""
