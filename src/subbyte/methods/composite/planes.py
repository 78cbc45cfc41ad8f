"""The paper's composite binary decomposition of one weight matrix, and the grid it equals.

    r = |W| / max|W|                                  the sign is stored apart
    a: the least threshold with rank([r > a]) <= bottleneck * min(h, w)
    a_s = floor(log2(1 / a)),  a_i = a_s - J + 1,  D = a 2**(a_i - 1) / (1 - 2**(a_i - 1))
    for i = a_s .. a_i:  P_i = [r > 2**i (a + D) - D],  r <- r - P_i 2**i (a + D)

The smallest step, 2**a_i (a + D), is 2 D. So the planes P_i are the bits of r rounded to the
nearest multiple of 2 D, halves down, and W ~ sign * max|W| * 2 D * sum P_i 2**(i - a_i). P_i with i
>= 0 are sparse and are meant to be factorized over GF(2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import OptionError
from subbyte.methods.composite.galois import rank


@dataclass(frozen=True)
class Decomposition:
    """codes int64 [h, w] = sum P_i 2**(i - a_i); ``step`` = 2 D; ``threshold`` a; ``upper``
    planes with i >= 0, ``lower`` with i < 0."""

    codes: NDArray[np.int64]
    step: float
    threshold: float
    upper: int
    lower: int


def find_threshold(relative: NDArray[np.float64], bottleneck: float) -> float:
    """The threshold a for magnitudes ``relative`` [h, w] with maximum 1.

    Ours: bisection over the upper half of the magnitudes. There the rank grows with the
    number of ones but for single steps; below it falls again (all ones have rank 1), which
    cannot be meant. Raises `OptionError` where the rank allowed is 0.
    """
    most = math.floor(bottleneck * min(relative.shape))
    if most < 1:
        raise OptionError(
            "composite: the layer is too small for this bottleneck (rank 0)",
            expected=f"at least 1 / min{relative.shape} = {1 / min(relative.shape):.3g}",
            got=bottleneck,
        )
    values = np.unique(relative)
    low, high = int(np.searchsorted(values, np.median(relative))), len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if rank(relative > values[middle], most) <= most:
            high = middle
        else:
            low = middle + 1
    return float(values[high])


def decompose(relative: NDArray[np.float64], threshold: float, planes: int) -> Decomposition:
    """``planes`` J composite planes of ``relative`` [h, w] with maximum 1.

    Raises `OptionError` for fewer planes than lie above the threshold.
    """
    top = math.floor(math.log2(1 / threshold))
    bottom = top - planes + 1
    if bottom > 0 or planes < 1:
        raise OptionError(
            "composite: planes out of range for this layer's threshold",
            expected=f"at least {top + 1}",
            got=planes,
        )
    half = threshold * 2.0 ** (bottom - 1) / (1 - 2.0 ** (bottom - 1))
    rest, codes = relative.copy(), np.zeros(relative.shape, np.int64)
    for i in range(top, bottom - 1, -1):
        # 2**i (a + D) - D, written so that for i = 0 it is a itself: a is one of the magnitudes.
        plane = rest > 2.0**i * threshold + (2.0**i - 1) * half
        rest -= plane * (2.0**i * (threshold + half))
        codes = 2 * codes + plane
    return Decomposition(codes, 2 * half, threshold, top + 1, -bottom)


def uniform_codes(relative: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    """The nearest multiple of ``step``, halves down: `decompose` gives the same."""
    return np.ceil(relative / step - 0.5).astype(np.int64)
