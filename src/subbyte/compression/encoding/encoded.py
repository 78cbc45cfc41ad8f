"""The results of encoding: coded weights, and the numbers beside them."""

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
