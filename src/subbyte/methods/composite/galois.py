"""Rank and exact factorization of binary matrices over GF(2), the field of two elements.

    P = A B mod 2        P [h, w], A [h, r], B [r, w], all 0 or 1, r = rank(P)

B holds the non-zero rows of P's reduced row echelon form, A the pivot columns of P: in
those columns B is the identity, so they are also the coefficients of every row of P.
The paper states the exact factorization; that its released code stops above the true rank,
and this elimination, are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.bool_]


def rank(plane: Plane, most: int | None = None) -> int:
    """The rank of ``plane`` [h, w] over GF(2); ``most`` + 1 where it exceeds ``most``."""
    rows = plane if plane.shape[0] <= plane.shape[1] else plane.T
    return len(_eliminate(rows, most)[1])


def factorize(plane: Plane) -> tuple[Plane, Plane]:
    """A [h, r] and B [r, w] with plane = A B mod 2 and r = rank(plane)."""
    words, pivots = _eliminate(plane, None)
    echelon = words[: len(pivots)].view(np.uint8)
    bits = np.unpackbits(echelon, axis=1, count=plane.shape[1], bitorder="little")
    return plane[:, pivots], bits.astype(bool)


def multiply(left: Plane, right: Plane) -> Plane:
    """A B mod 2 for A [h, r] and B [r, w]."""
    product = left.astype(np.float32) @ right.astype(np.float32)
    return product.astype(np.int64) % 2 == 1


def _eliminate(plane: Plane, most: int | None) -> tuple[NDArray[np.uint64], list[int]]:
    """Gauss-Jordan on 64 columns a word: the echelon form's rows first, and its pivots.

    Stops at ``most`` + 1 pivots.
    """
    height, width = plane.shape
    packed = np.zeros((height, -(-width // 64) * 8), np.uint8)
    packed[:, : -(-width // 8)] = np.packbits(plane, axis=1, bitorder="little")
    words = packed.view(np.uint64)
    pivots: list[int] = []
    for column in range(width):
        done = len(pivots)
        if done == height or (most is not None and done > most):
            break
        ones = (words[:, column // 64] >> np.uint64(column % 64)) & np.uint64(1) != 0
        below = np.flatnonzero(ones[done:])
        if not below.size:
            continue
        source = done + int(below[0])
        words[[done, source]] = words[[source, done]]
        ones[source] = ones[done]
        ones[done] = False
        words[ones] ^= words[done]
        pivots.append(column)
    return words, pivots
