"""The options that a user may give to `compress`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from subbyte.budgets import Budget, Kind
from subbyte.data import check_seed
from subbyte.errors import OptionError
from subbyte.methods import METHODS, MethodChoice, choices_of

DEFAULT_METHOD, DEFAULT_BITS = "product", 2.0
_BUDGETS: tuple[Kind, ...] = ("bits", "size", "latency", "max_drop")
_UNITS = {"size": "bytes", "latency": "milliseconds", "max_drop": "percentage points"}
_NEVER_NONE = ("trials", "tune", "seed")
_WHOLE = ("tune_linear", "samples", *_NEVER_NONE)


@dataclass(frozen=True)
class CompressOptions:
    """The options of one compression.

    ``method``: of every layer; or several, that a plan for a budget may choose from. A method is a
    name, or a choice that fixes some of its options: ``Product(group=8, gain=3)``, ``Scalar()``,
    ``Ternary()``, ``Composite()``, ``Binary()`` of `subbyte.methods`. None: product.

    The budget is one of four:

    - ``bits``: at most so many bits per weight over all conv and linear layers;
    - ``size``: of the file, in bytes;
    - ``latency``: of a sample, in milliseconds, by the kernel timings of the file ``timings``
      (None: this machine's own);
    - ``max_drop``: percentage points of accuracy that may be lost.

    Without one it is `DEFAULT_BITS`, unless a plan or one method is given: a method by itself codes
    all layers in the way of its own.

    ``trials``: for ``bits``, ``size`` or ``latency``, carry out so many plans on a part of the
    samples, and keep the one that does clearly best on the rest (`trials`).

    ``tune``: distillation steps. ``tune_linear``: steps that train the linear layers after the
    convolutions are coded and before they are; None: 200 with Q-CNN's procedure, else none.
    ``work``: folder for the checkpoints of a run (kept); None: beside the output, removed when the
    run is done. ``inline``: write functions expanded into standard operators.
    """

    method: str | MethodChoice | Sequence[str | MethodChoice] | None = None
    bits: float | None = None
    size: int | None = None
    latency: float | None = None
    max_drop: float | None = None
    timings: Path | None = None
    trials: int = 0
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
        if self.method is not None:
            object.__setattr__(self, "method", choices_of(self.method))
        self._check_numbers()
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    def _check_numbers(self) -> None:
        """The command line has read them; from Python ``size="2MB"`` may come."""
        for name in (*_BUDGETS, *_WHOLE):
            value = getattr(self, name)
            kind, said = (Integral, "a whole number") if name in _WHOLE else (Real, "a number")
            if not isinstance(value, kind) and (value is not None or name in _NEVER_NONE):
                expected = f"{said} of {_UNITS[name]}" if name in _UNITS else said
                option = name.replace("_", "-")
                raise OptionError(f"cannot read --{option}", expected=expected, got=repr(value))

    def _check_choices(self) -> None:
        if self.activations not in ("int8", "float"):
            raise OptionError(
                "unknown --activations", expected="int8 or float", got=self.activations
            )

    def _check_ranges(self) -> None:
        check_seed(self.seed)
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
        for choice in self.choices:
            budget = self.budget.option if self.budget else None
            METHODS[choice.method].check_given(choice.options, budget)
        if self.timings is not None and self.latency is None:
            raise OptionError("--timings belongs to --latency")
        if self.plan is not None:
            given = [_dashed(name) for name in _BUDGETS if getattr(self, name) is not None]
            given += ["--method"] if self.method is not None else []
            for name in given:
                raise OptionError(f"--plan and {name} exclude each other")

    @property
    def budget(self) -> Budget | None:
        """The one limit that is given, or else `DEFAULT_BITS`.

        None: a plan or one method says how layers are coded.

        Raises:
            OptionError: several limits.
        """
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"{_dashed(given[0])} and {_dashed(given[1])} exclude each other")
        if given:
            return Budget(given[0], float(getattr(self, given[0])))
        said = self.plan is not None or (self.method is not None and len(self.choices) == 1)
        return None if said else Budget("bits", DEFAULT_BITS)

    @property
    def by_default(self) -> bool:
        """Whether the budget is `DEFAULT_BITS`, as none is given."""
        return self.budget is not None and all(getattr(self, name) is None for name in _BUDGETS)

    @property
    def choices(self) -> tuple[MethodChoice, ...]:
        """The methods that layers may be coded with."""
        return choices_of(DEFAULT_METHOD if self.method is None else self.method)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The names of these methods."""
        return tuple(choice.method for choice in self.choices)

    def with_plan(self, plan: Path) -> CompressOptions:
        """The same run with the methods and bits of each layer given."""
        left_out: dict[str, Any] = dict.fromkeys((*_BUDGETS, "timings", "method"))
        return replace(self, plan=plan, trials=0, **left_out)


def _dashed(name: str) -> str:
    """How the command line calls a field."""
    return "--" + name.replace("_", "-")
