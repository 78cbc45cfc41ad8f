"""Coded weights as modules: the parts of a packed form that are trained, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from subbyte.methods.coded import CodedWeight, decode_scale, pack_scale


class TrainableWeight(nn.Module):
    """forward() -> weight [O, T, I], as the file will hold it but for the scale's float16.

    ``rates``: Adam's learning rate of every parameter, by name.
    """

    rates: ClassVar[Mapping[str, float]]

    def settle(self) -> None:
        """Called after every step of the optimizer, for parts that are no parameters."""

    def coded(self) -> CodedWeight:
        """The trained weight, packed."""
        raise NotImplementedError


class ScaledWeight(TrainableWeight):
    """Integer levels whose scales are trained, their codes held. Parameter: ``log_scale`` [O].

    ``integers``: the levels int8 [O, T, I] of ``coded``, of any method.
    """

    rates: ClassVar[Mapping[str, float]] = {"log_scale": 5e-4}
    levels: Tensor

    def __init__(self, coded: CodedWeight, integers: NDArray[np.int8]) -> None:
        super().__init__()
        self._coded = coded
        self.log_scale = nn.Parameter(torch.from_numpy(decode_scale(coded)).log())
        self.register_buffer("levels", torch.from_numpy(integers.astype(np.float32)))

    def forward(self) -> Tensor:
        """The weight [O, T, I]."""
        return self.levels * self.log_scale.exp()[:, None, None]

    @torch.no_grad()
    def coded(self) -> CodedWeight:
        """The trained weight, packed."""
        half, base = pack_scale(self.log_scale.exp().cpu().numpy())
        return replace(
            self._coded,
            inputs={**self._coded.inputs, "scale": half},
            attributes={**self._coded.attributes, "scale_base": base},
        )
