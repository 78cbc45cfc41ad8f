"""How a value is carried in eight bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QuantParams:
    """x = scale * (q - zero_point), q uint8 = clamp(round_half_even(x / scale) + zero_point)."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale: expected a positive number, got {self.scale}")
        if not 0 <= self.zero_point <= 255:
            raise ValueError(f"zero_point: expected 0 to 255, got {self.zero_point}")

    @property
    def low(self) -> float:
        """The least value that can be carried."""
        return -self.scale * self.zero_point

    @property
    def high(self) -> float:
        """The greatest value that can be carried."""
        return self.scale * (255 - self.zero_point)

    def quantize(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Codes of ``x``, same shape, as QuantizeLinear computes them."""
        q = np.rint(np.asarray(x, np.float32) / np.float32(self.scale)) + self.zero_point
        return np.clip(q, 0, 255).astype(np.uint8)
