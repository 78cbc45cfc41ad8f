"""What a user may ask of `compress`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subbyte.errors import OptionError
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import GROUPS
from subbyte.methods.ternary.form import MOST_RATIO

Procedure = Literal["corrected", "paper", "exact"]

METHOD_NAMES = ("product", "scalar", "ternary", "composite")
LEAST_BITS = 0.1
MOST_BITS = 8.0


@dataclass(frozen=True)
class CompressOptions:
    """``bits``: at most so many bits per weight over all conv and linear layers, None: no
    budget. ``group``: channels a code; with ``bits`` the smallest group size that may be
    chosen. ``gain``: bits of gain a code (0 none, 1 sign). ``rank``: most terms of a ternary
    factorization; ``rank_ratio``: terms over min(outputs, inputs), 1 if neither this nor
    ``bits`` is given. ``planes``: most bits of magnitude of a composite weight;
    ``procedure`` and ``bottleneck``: `CompositeOptions`; or, for scalar, ``procedure``
    ``exact``: weights that lie on a grid of 2, 3 or 4 bits are kept, the rest takes 8.
    ``tune``: distillation steps.
    ``work``: folder for the checkpoints of a run (kept); None: beside the output, removed
    when the run is done. ``inline``: write functions expanded into standard operators.
    """

    method: Literal["product", "scalar", "ternary", "composite"] = "product"
    bits: float | None = None
    group: int | None = None
    gain: int | None = None
    rank: int | None = None
    rank_ratio: float | None = None
    planes: int | None = None
    procedure: Procedure | None = None
    bottleneck: float | None = None
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
        if self.method not in METHOD_NAMES:
            raise OptionError("unknown method", expected=" or ".join(METHOD_NAMES), got=self.method)
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
        if self.rank is not None and self.rank < 1:
            raise OptionError("--rank out of range", expected="1 or more", got=self.rank)
        if self.rank_ratio is not None and not 0 < self.rank_ratio <= MOST_RATIO:
            raise OptionError(
                "--rank-ratio out of range",
                expected=f"above 0, at most {MOST_RATIO}",
                got=self.rank_ratio,
            )
        CompositeOptions(**self.composite())
        for name, value in (("--tune", self.tune), ("--seed", self.seed)):
            if value < 0:
                raise OptionError(f"{name} out of range", expected="0 or more", got=value)

    def _check_combinations(self) -> None:
        own = (
            ("--group", self.group, "product"),
            ("--gain", self.gain, "product"),
            ("--rank", self.rank, "ternary"),
            ("--rank-ratio", self.rank_ratio, "ternary"),
            ("--planes", self.planes, "composite"),
            ("--procedure", self.procedure, "scalar" if self.procedure == "exact" else "composite"),
            ("--bottleneck", self.bottleneck, "composite"),
        )
        for name, value, method in own:
            if value is not None and self.method != method:
                raise OptionError(f"{name} belongs to --method {method}", got=self.method)
        if self.bits is not None and self.rank_ratio is not None:
            raise OptionError("--bits and --rank-ratio exclude each other")
        if self.bits is not None and self.procedure in ("paper", "exact"):
            raise OptionError(f"--bits and --procedure {self.procedure} exclude each other")
        if self.bottleneck is not None and self.procedure != "paper":
            raise OptionError("--bottleneck belongs to --procedure paper", got=self.procedure)
        if self.plan is not None:
            for name, given in (("--bits", self.bits), *(option[:2] for option in own)):
                if given is not None:
                    raise OptionError(f"--plan and {name} exclude each other")

    def composite(self) -> dict[str, Any]:
        """What is given of `CompositeOptions`."""
        given = {name: getattr(self, name) for name in ("planes", "procedure", "bottleneck")}
        return {name: value for name, value in given.items() if value not in (None, "exact")}
