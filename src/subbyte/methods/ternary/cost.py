"""Multiplications and additions of a layer, as a matrix and as ternary factors.

For one output position (a pixel; a row of a linear layer), bias included:

    dense       multiplications O n,               additions O n
    factored    multiplications groups k (+ O),    additions |Y| - terms + |X| - outputs + O

with n = T * I inputs of a group, |X| and |Y| the numbers of nonzero entries; terms and
outputs that are all zeros save nothing. A scale per output (ours, not the paper's) costs
the O multiplications more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.operations import Operations
from subbyte.methods.ternary import form


def factored(left: NDArray[np.integer], right: NDArray[np.integer]) -> Operations:
    """The operations of X [groups, O / groups, k] and Y [groups, k, n], per position.

    They have a scale per output.
    """
    groups, per_group, rank = left.shape
    sums = sum(
        int(np.maximum(np.count_nonzero(factor, axis=2) - 1, 0).sum()) for factor in (left, right)
    )
    outputs = groups * per_group
    return Operations(groups * rank + outputs, sums + outputs)


def planned(shape: WeightShape, rank: int, zeros: float = 0.0) -> Operations:
    """The operations of factors of this rank with that share of zeros, as in the paper.

    There is no scale per output. The count comes from the shape alone: k multiplications, (1 -
    zeros) k (m + n) additions at most.
    """
    per_group = shape.outputs // shape.groups
    entries = shape.groups * rank * (per_group + shape.taps * shape.inputs)
    return Operations(shape.groups * rank, round((1 - zeros) * entries))


def operations(coded: CodedWeight) -> Operations:
    """The operations of a coded weight's factors, per position."""
    left, _, right = form.factors(coded)
    return factored(left, right)
