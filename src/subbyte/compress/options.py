"""What a user may ask of `compress`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from subbyte.errors import OptionError
from subbyte.methods.product.form import GROUPS

LEAST_BITS = 0.1
MOST_BITS = 8.0


@dataclass(frozen=True)
class CompressOptions:
    """``bits``: at most so many bits per weight over all conv and linear layers, None: no
    budget. ``group``: channels a code; with ``bits`` the smallest group size that may be
    chosen. ``gain``: bits of gain a code (0 none, 1 sign). ``tune``: distillation steps.
    ``work``: folder for the checkpoints of a run (kept); None: beside the output, removed
    when the run is done. ``inline``: write functions expanded into standard operators.
    """

    method: Literal["product", "scalar"] = "product"
    bits: float | None = None
    group: int | None = None
    gain: int | None = None
    plan: Path | None = None
    tune: int = 0
    seed: int = 0
    device: str = "cpu"
    work: Path | None = None
    activations: Literal["int8", "float"] = "int8"
    inline: bool = False
    samples: int | None = None

    def __post_init__(self) -> None:
        for name in ("plan", "work"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    def _check_choices(self) -> None:
        if self.method not in ("product", "scalar"):
            raise OptionError("unknown method", expected="product or scalar", got=self.method)
        if self.activations not in ("int8", "float"):
            raise OptionError(
                "unknown --activations", expected="int8 or float", got=self.activations
            )

    def _check_ranges(self) -> None:
        if self.bits is not None and not LEAST_BITS <= self.bits <= MOST_BITS:
            raise OptionError(
                "--bits out of range", expected=f"{LEAST_BITS} to {MOST_BITS:g}", got=self.bits
            )
        if self.group is not None and self.group not in GROUPS:
            raise OptionError("--group out of range", expected="2, 3, 4, 6 or 8", got=self.group)
        if self.gain is not None and self.gain not in range(5):
            raise OptionError("--gain out of range", expected="0 to 4", got=self.gain)
        for name, value in (("--tune", self.tune), ("--seed", self.seed)):
            if value < 0:
                raise OptionError(f"{name} out of range", expected="0 or more", got=value)

    def _check_combinations(self) -> None:
        product_only = (("--group", self.group), ("--gain", self.gain))
        for name, value in product_only:
            if value is not None and self.method != "product":
                raise OptionError(f"{name} belongs to --method product", got=self.method)
        if self.plan is not None:
            for name, given in (("--bits", self.bits), *product_only):
                if given is not None:
                    raise OptionError(f"--plan and {name} exclude each other")
