"""The options that a user may give to `compress`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from subbyte.budgets import Budget, Kind
from subbyte.data import check_seed
from subbyte.errors import OptionError
from subbyte.methods import METHODS, Given
from subbyte.methods.binarization import Scales
from subbyte.methods.binary import form as binary_form
from subbyte.methods.composite import form as composite_form
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
_BUDGETS: tuple[Kind, ...] = ("bits", "size", "latency", "max_drop")
_UNITS = {"size": "bytes", "latency": "milliseconds", "max_drop": "percentage points"}
_REAL = (*_BUDGETS, "rank_ratio", "bottleneck")
_COUNTS = ("group", "words", "gain", "rank", "planes", "order", "tune_linear", "samples")
_NEVER_NONE = ("trials", "tune", "seed")
_WHOLE = (*_COUNTS, *_NEVER_NONE)


@dataclass(frozen=True)
class CompressOptions:
    """The options of one compression.

    ``method`` is the method of every layer. ``methods``: the methods that a plan for a budget may
    choose from; None: ``method`` alone.

    The budget is one of four, or none:

    - ``bits``: at most so many bits per weight over all conv and linear layers;
    - ``size``: of the file, in bytes;
    - ``latency``: of a sample, in milliseconds, by the kernel timings of the file ``timings``
      (None: this machine's own);
    - ``max_drop``: percentage points of accuracy that may be lost.

    ``trials``: for ``bits``, ``size`` or ``latency``, carry out so many plans on a part of the
    samples, and keep the one that does clearly best on the rest (`trials`).

    Options of methods:

    - ``group``: channels a code; with a budget the smallest group size that may be chosen;
    - ``words``: most words a codebook, 16 if not given;
    - ``gain``: bits of gain a code (0 none, 1 sign);
    - ``rank``: most terms of a ternary factorization; ``rank_ratio``: terms over min(outputs,
      inputs), 1 if neither this nor a budget is given;
    - ``planes``: most bits of magnitude of a composite weight;
    - ``procedure``: of `ProductOptions`, `CompositeOptions` and `BinaryOptions`; or, for scalar,
      ``exact``: weights that lie on a grid of 2, 3 or 4 bits are kept, the rest takes 8;
    - ``bottleneck``: of `CompositeOptions`; ``order``, ``scales``: of `BinaryOptions`.

    ``tune``: distillation steps. ``tune_linear``: steps that train the linear layers after the
    convolutions are coded and before they are; None: 200 with Q-CNN's procedure, else none.
    ``work``: folder for the checkpoints of a run (kept); None: beside the output, removed when the
    run is done. ``inline``: write functions expanded into standard operators.
    """

    method: Literal["product", "scalar", "ternary", "composite", "binary"] = "product"
    methods: tuple[str, ...] | None = None
    bits: float | None = None
    size: int | None = None
    latency: float | None = None
    max_drop: float | None = None
    timings: Path | None = None
    trials: int = 0
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
        for name in ("plan", "work", "timings"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        if self.methods is not None:
            object.__setattr__(self, "methods", tuple(self.methods))
        self._check_numbers()
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    def _check_numbers(self) -> None:
        """The command line has read them; from Python ``size="2MB"`` may come."""
        for name in (*_REAL, *_WHOLE):
            value = getattr(self, name)
            kind, said = (Integral, "a whole number") if name in _WHOLE else (Real, "a number")
            if not isinstance(value, kind) and (value is not None or name in _NEVER_NONE):
                expected = f"{said} of {_UNITS[name]}" if name in _UNITS else said
                option = name.replace("_", "-")
                raise OptionError(f"cannot read --{option}", expected=expected, got=repr(value))

    def _check_choices(self) -> None:
        if self.method not in METHOD_NAMES:
            raise OptionError("unknown method", expected=" or ".join(METHOD_NAMES), got=self.method)
        for name in self.methods or ():
            if name not in METHOD_NAMES:
                raise OptionError(
                    "unknown method in --methods", expected=", ".join(METHOD_NAMES), got=name
                )
        if self.methods is not None and not self.methods:
            raise OptionError("--methods names none", expected=", ".join(METHOD_NAMES))
        if self.activations not in ("int8", "float"):
            raise OptionError(
                "unknown --activations", expected="int8 or float", got=self.activations
            )

    def _check_ranges(self) -> None:
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
        check_seed(self.seed)
        if self.method == "composite":
            METHODS["composite"].checked(self.given("composite"))
        if self.method == "binary":
            METHODS["binary"].checked(self.given("binary"))
        if self.trials and (self.budget is None or self.budget.kind == "max_drop"):
            raise OptionError("--trials belongs to --bits, --size and --latency")
        for name, value in (
            ("--tune", self.tune),
            ("--tune-linear", self.tune_linear or 0),
            ("--trials", self.trials),
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
            if value is not None and method not in self.allowed:
                got = ", ".join(self.allowed)
                raise OptionError(f"{name} belongs to --method {method}", got=got)
        if self.budget is not None and self.rank_ratio is not None:
            raise OptionError(f"{self.budget.option} and --rank-ratio exclude each other")
        self._check_procedure()
        if self.timings is not None and self.latency is None:
            raise OptionError("--timings belongs to --latency")
        if self.plan is not None:
            others = (("--procedure", self.procedure), *(option[:2] for option in own))
            budgets = ((_dashed(name), getattr(self, name)) for name in _BUDGETS)
            for name, given in (*budgets, *others):
                if given is not None:
                    raise OptionError(f"--plan and {name} exclude each other")

    def _check_procedure(self) -> None:
        if self.bottleneck is not None and self.procedure != "paper":
            raise OptionError("--bottleneck belongs to --procedure paper", got=self.procedure)
        if self.procedure is None:
            return
        known = [name for method in self.allowed for name in PROCEDURES.get(method, ())]
        if not known:
            methods = " or ".join(PROCEDURES)
            got = ", ".join(self.allowed)
            raise OptionError(f"--procedure belongs to --method {methods}", got=got)
        if self.procedure not in known:
            raise OptionError(
                f"{', '.join(self.allowed)}: unknown procedure",
                expected=" or ".join(dict.fromkeys(known)),
                got=self.procedure,
            )
        if self.procedure == "corrected" or self.allowed == ("binary",):
            return
        budget = self.budget.option if self.budget else "--bits"
        for name, value in ((budget, self.budget), ("--gain", self.gain)):
            if value is not None:
                raise OptionError(f"{name} and --procedure {self.procedure} exclude each other")

    @property
    def budget(self) -> Budget | None:
        """The one limit that is given, or None; `OptionError` if there are several."""
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"{_dashed(given[0])} and {_dashed(given[1])} exclude each other")
        return Budget(given[0], float(getattr(self, given[0]))) if given else None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods that layers may be coded with."""
        return self.methods or (self.method,)

    def with_plan(self, plan: Path) -> CompressOptions:
        """The same run with the methods and bits of each layer given."""
        own = ["group", "words", "gain", "rank", "rank_ratio", "planes", "procedure"]
        own += ["bottleneck", "order", "scales"]
        left_out: dict[str, Any] = dict.fromkeys((*_BUDGETS, *own, "methods", "timings"))
        return replace(self, method="product", plan=plan, trials=0, **left_out)

    def given(self, method: str) -> Given:
        """The options of ``method`` that are given."""
        names = METHODS[method].options.settings().keys() & {field.name for field in fields(self)}
        found = {name: getattr(self, name) for name in names - {"bits"}}
        if self.procedure == "exact":
            found["exact"] = True
        return {name: value for name, value in found.items() if value is not None}


def _dashed(name: str) -> str:
    """How the command line calls a field."""
    return "--" + name.replace("_", "-")
