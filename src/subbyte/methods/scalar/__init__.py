"""Scalar grids: every weight one of 2**bits evenly spaced levels, with a scale per output.

The plain uniform grid (2, 3, 4 bits), encoded against the layer's second moments, and
8 bits for the layers that must stay precise. The soft/hard 2-bit training of Hung et al.
(SiPS 2015) ends on the same 2-bit grid.
"""
