"""Composite binary planes: CBDNet's uniform grid, stored bit plane by bit plane.

Source: Qiaoben et al., "Composite Binary Decomposition Networks", AAAI 2019, arXiv
1811.06668 (magnitudes relative to the layer's largest, the threshold by rank, the planes,
the exact factorization of the upper ones). Ours: elimination that finds the true rank over
GF(2), gap-coded planes, signs of the non-zeros only, the grid fitted to the moments.
"""
