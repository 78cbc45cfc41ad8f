"""A weight of integer levels whose scales are trained, its codes held."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from subbyte.methods.coded import CodedWeight, decode_scale, pack_scale


class ScalarWeight(nn.Module):
    """forward() -> weight [O, T, I]. Parameter: ``log_scale`` [O].

    ``integers``: the levels int8 [O, T, I] of ``coded``, of whatever method.
    """

    levels: Tensor

    def __init__(self, coded: CodedWeight, integers: NDArray[np.int8]) -> None:
        super().__init__()
        self._coded = coded
        self.log_scale = nn.Parameter(torch.from_numpy(decode_scale(coded)).log())
        self.register_buffer("levels", torch.from_numpy(integers.astype(np.float32)))

    def forward(self) -> Tensor:
        """The weight [O, T, I], as the file will hold it but for the scale's float16."""
        return self.levels * self.log_scale.exp()[:, None, None]

    @torch.no_grad()
    def coded(self) -> CodedWeight:
        """The trained weight, packed."""
        half, base = pack_scale(self.log_scale.exp().cpu().numpy())
        return CodedWeight(
            method=self._coded.method,
            variant=self._coded.variant,
            shape=self._coded.shape,
            inputs={**self._coded.inputs, "scale": half},
            attributes={**self._coded.attributes, "scale_base": base},
        )
