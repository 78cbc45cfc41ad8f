"""What every method gives back: a weight in packed form.

Canonical weight layout, the only one a method sees: ``W[O, T, I]`` float32,
O output channels, T kernel taps (row-major over the kernel; 1 for a linear layer),
I input channels *per convolution group*. Flattened to ``[O, n]`` with n = T * I, an
output is ``y = W x`` on patches x in (tap, channel) order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WeightShape:
    """O outputs in all, T taps, I input channels per convolution group, ``groups`` of them."""

    outputs: int
    taps: int
    inputs: int
    groups: int = 1

    @property
    def count(self) -> int:
        """Number of weights, O * T * I."""
        return self.outputs * self.taps * self.inputs


@dataclass(frozen=True)
class CodedWeight:
    """One coded weight: packed arrays plus the integers that say how to unpack them.

    ``inputs`` are stored in the file as constant inputs of the layer's node, in this
    order; ``attributes`` become the node's attributes (an int, or a list of ints).
    ``method`` + ``variant`` choose the unpacking function (`subbyte.methods`).
    """

    method: str
    variant: str
    shape: WeightShape
    inputs: Mapping[str, NDArray[np.generic]]
    attributes: Mapping[str, int | list[int]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes stored: codes, signs or gains, codebooks, scales, padding."""
        return sum(array.nbytes for array in self.inputs.values())

    @property
    def bits_per_weight(self) -> float:
        """8 * nbytes / (O * T * I)."""
        return 8 * self.nbytes / self.shape.count
