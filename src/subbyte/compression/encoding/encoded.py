"""What encoding gives: coded weights, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from subbyte.methods import CodedWeight


@dataclass
class Encoded:
    """Results by name: coded weights by initializer, biases [O] by node, relative errors."""

    weights: dict[str, CodedWeight]
    biases: dict[str, Tensor]
    losses: dict[str, float]
