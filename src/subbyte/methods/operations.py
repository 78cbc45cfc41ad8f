"""Multiplications and additions of a layer.

For one output position (a pixel; a row of a linear layer), bias included, a layer of O outputs
and n = T * I inputs of a group takes O n multiplications and O n additions.
"""

from __future__ import annotations

from dataclasses import dataclass

from subbyte.methods.coded import WeightShape


@dataclass(frozen=True)
class Operations:
    """Counts of scalar multiplications and additions."""

    multiplications: int
    additions: int

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.multiplications + other.multiplications, self.additions + other.additions
        )

    def times(self, positions: int) -> Operations:
        """The same at that many positions."""
        return Operations(self.multiplications * positions, self.additions * positions)


def dense(shape: WeightShape) -> Operations:
    """The operations of the layer as it was, per output position."""
    return Operations(shape.count, shape.count)
