"""What a user may ask of `compress`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subbyte.errors import OptionError
from subbyte.methods.binary import form as binary_form
from subbyte.methods.binary.form import BinaryOptions, Scales
from subbyte.methods.composite import form as composite_form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product import form as product_form
from subbyte.methods.product.form import GROUPS, WORDS
from subbyte.methods.ternary.form import MOST_RATIO

METHOD_NAMES = ("product", "scalar", "ternary", "composite", "binary")
PROCEDURES: Mapping[str, tuple[str, ...]] = {
    "product": product_form.PROCEDURES,
    "composite": composite_form.PROCEDURES,
    "binary": binary_form.PROCEDURES,
    "scalar": ("corrected", "exact"),
}
LEAST_BITS = 0.1
MOST_BITS = 8.0


@dataclass(frozen=True)
class CompressOptions:
    """``bits``: at most so many bits per weight over all conv and linear layers, None: no
    budget. ``group``: channels a code; with ``bits`` the smallest group size that may be
    chosen. ``words``: most words a codebook, 16 if not given. ``gain``: bits of gain a code (0
    none, 1 sign). ``rank``: most terms of a ternary
    factorization; ``rank_ratio``: terms over min(outputs, inputs), 1 if neither this nor
    ``bits`` is given. ``planes``: most bits of magnitude of a composite weight;
    ``procedure``: `ProductOptions`, `CompositeOptions` and `BinaryOptions`; or, for scalar,
    ``exact``: weights that lie on a grid of 2, 3 or 4 bits are kept, the rest takes 8.
    ``bottleneck``: `CompositeOptions`; ``order``, ``scales``: `BinaryOptions`. ``tune``:
    distillation steps. ``tune_linear``: steps that train the linear layers between the coding
    of the convolutions and theirs; None: 200 with Q-CNN's procedure, else none.
    ``work``: folder for the checkpoints of a run (kept); None: beside the output, removed
    when the run is done. ``inline``: write functions expanded into standard operators.
    """

    method: Literal["product", "scalar", "ternary", "composite", "binary"] = "product"
    bits: float | None = None
    group: int | None = None
    words: int | None = None
    gain: int | None = None
    rank: int | None = None
    rank_ratio: float | None = None
    planes: int | None = None
    procedure: Literal["corrected", "paper", "paper-plain", "exact"] | None = None
    bottleneck: float | None = None
    order: int | None = None
    scales: Scales | None = None
    plan: Path | None = None
    tune: int = 0
    tune_linear: int | None = None
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
        for name, choice, allowed in (
            ("--group", self.group, (1, *GROUPS)),
            ("--words", self.words, WORDS),
        ):
            if choice is not None and choice not in allowed:
                expected = ", ".join(map(str, allowed[:-1])) + f" or {allowed[-1]}"
                raise OptionError(f"{name} out of range", expected=expected, got=choice)
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
        if self.method == "composite":
            CompositeOptions(**self.composite())
        if self.method == "binary":
            BinaryOptions(**self.binary())
        for name, value in (
            ("--tune", self.tune),
            ("--tune-linear", self.tune_linear or 0),
            ("--seed", self.seed),
        ):
            if value < 0:
                raise OptionError(f"{name} out of range", expected="0 or more", got=value)

    def _check_combinations(self) -> None:
        own = (
            ("--group", self.group, "product"),
            ("--words", self.words, "product"),
            ("--gain", self.gain, "product"),
            ("--rank", self.rank, "ternary"),
            ("--rank-ratio", self.rank_ratio, "ternary"),
            ("--planes", self.planes, "composite"),
            ("--bottleneck", self.bottleneck, "composite"),
            ("--order", self.order, "binary"),
            ("--scales", self.scales, "binary"),
        )
        for name, value, method in own:
            if value is not None and self.method != method:
                raise OptionError(f"{name} belongs to --method {method}", got=self.method)
        self._check_procedure()
        if self.bits is not None and self.rank_ratio is not None:
            raise OptionError("--bits and --rank-ratio exclude each other")
        if self.plan is not None:
            given_by_layer = (("--bits", self.bits), ("--procedure", self.procedure))
            for name, given in (*given_by_layer, *(option[:2] for option in own)):
                if given is not None:
                    raise OptionError(f"--plan and {name} exclude each other")

    def _check_procedure(self) -> None:
        if self.bottleneck is not None and self.procedure != "paper":
            raise OptionError("--bottleneck belongs to --procedure paper", got=self.procedure)
        if self.procedure is None:
            return
        allowed = PROCEDURES.get(self.method, ())
        if not allowed:
            methods = " or ".join(PROCEDURES)
            raise OptionError(f"--procedure belongs to --method {methods}", got=self.method)
        if self.procedure not in allowed:
            raise OptionError(
                f"{self.method}: unknown procedure",
                expected=" or ".join(allowed),
                got=self.procedure,
            )
        if self.procedure == "corrected" or self.method == "binary":
            return
        for name, value in (("--bits", self.bits), ("--gain", self.gain)):
            if value is not None:
                raise OptionError(f"{name} and --procedure {self.procedure} exclude each other")

    def binary(self) -> dict[str, Any]:
        """What is given of `BinaryOptions`."""
        given = {name: getattr(self, name) for name in ("order", "scales", "procedure")}
        return {name: value for name, value in given.items() if value is not None}

    def composite(self) -> dict[str, Any]:
        """What is given of `CompositeOptions`."""
        given = {name: getattr(self, name) for name in ("planes", "procedure", "bottleneck")}
        return {name: value for name, value in given.items() if value not in (None, "exact")}
