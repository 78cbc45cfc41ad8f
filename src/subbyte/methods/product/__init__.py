"""Product codes: Q-CNN's sub-codebooks, with an optional gain per code (gain-shape codes).

Source: Wu et al., "Quantized Convolutional Neural Networks for Mobile Devices",
CVPR 2016, section 3 (sub-spaces along input channels, one codebook shared by all kernel
positions and outputs). Ours: the sign or gain per code, the per-channel scale, int8
codebooks, and the encoder.
"""
