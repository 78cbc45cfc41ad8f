"""From stored samples to a model's inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import CalibrationError, OptionError

Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Preprocessing:
    """x -> (x / scale - mean) / std, per channel, then to channels first, float32.

    ``mean`` and ``std`` hold one number per channel, or one for all of them; empty
    means 0 and 1. ``layout`` "nhwc" says that the samples have channels last.

    Raises:
        OptionError: scale or a std that is zero or not finite, an unknown layout.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise OptionError("unknown layout", expected="nchw or nhwc", got=self.layout)
        for name, values in (("scale", (self.scale,)), ("mean", self.mean), ("std", self.std)):
            for value in values:
                if not math.isfinite(value) or (value == 0 and name != "mean"):
                    raise OptionError(
                        f"{name} out of range", expected="finite numbers, not zero", got=value
                    )

    @property
    def scales(self) -> bool:
        """Whether values change (a layout alone does not)."""
        return self.scale != 1 or bool(self.mean) or bool(self.std)

    def check(self, channels: int, where: str) -> None:
        """Raise `CalibrationError` unless mean and std fit ``channels``."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, channels):
                raise CalibrationError(
                    f"{name} has the wrong length",
                    where=where,
                    expected=f"1 or {channels} numbers (one per channel)",
                    got=len(values),
                )

    def apply(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Values of ``batch`` [N, C, ...] (channels already first) as float32."""
        result = batch.astype(np.float32)
        per_channel = (1, -1) + (1,) * (batch.ndim - 2)
        if self.scale != 1:
            result /= np.float32(self.scale)
        if self.mean:
            result -= np.asarray(self.mean, np.float32).reshape(per_channel)
        if self.std:
            result /= np.asarray(self.std, np.float32).reshape(per_channel)
        return result
