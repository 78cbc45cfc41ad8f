"""The options that a user may give to `compress`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from subbyte.budgets import Budget, Kind
from subbyte.data import check_seed
from subbyte.errors import OptionError
from subbyte.methods import METHODS, MethodChoice, choices_of
from subbyte.option_types import check_fields
from subbyte.outputs import File

DEFAULT_METHOD, DEFAULT_BITS = "product", 2.0
_BUDGETS: tuple[Kind, ...] = ("bits", "size", "latency", "max_drop")

Methods = str | MethodChoice | Sequence[str | MethodChoice]
Activations = Literal["int8", "float"]


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

    method: Methods | None = None
    bits: float | None = None
    size: Annotated[float | None, "a number of bytes"] = None
    latency: Annotated[float | None, "a number of milliseconds"] = None
    max_drop: Annotated[float | None, "a number of percentage points"] = None
    timings: File | None = None
    trials: int = 0
    plan: File | None = None
    tune: int = 0
    tune_linear: int | None = None
    seed: int = 0
    device: str = "cpu"
    work: File | None = None
    activations: Activations = "int8"
    inline: bool = False
    samples: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("plan", "work", "timings"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(value))
        if self.method is not None:
            object.__setattr__(self, "method", choices_of(self.method))
        self._check_ranges()
        self._check_combinations()

    def _check_ranges(self) -> None:
        check_seed(self.seed)
        if self.trials and (self.budget is None or self.budget.kind == "max_drop"):
            raise OptionError("`trials` belongs to `bits`, `size` and `latency`")
        for name, value in (
            ("`tune`", self.tune),
            ("`tune_linear`", self.tune_linear or 0),
            ("`trials`", self.trials),
        ):
            if value < 0:
                raise OptionError(f"{name} out of range", expected="0 or more", got=value)

    def _check_combinations(self) -> None:
        for choice in self.choices:
            budget = self.budget.option if self.budget else None
            METHODS[choice.method].check_given(choice.options, budget)
        if self.timings is not None and self.latency is None:
            raise OptionError("`timings` belongs to `latency`")
        if self.plan is not None:
            given = [name for name in (*_BUDGETS, "method") if getattr(self, name) is not None]
            if given:
                raise OptionError(f"`plan` and `{given[0]}` exclude each other")

    @property
    def budget(self) -> Budget | None:
        """The one limit that is given, or else `DEFAULT_BITS`.

        None: a plan or one method says how layers are coded.

        Raises:
            OptionError: several limits.
        """
        given = [name for name in _BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"`{given[0]}` and `{given[1]}` exclude each other")
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


class CompressKeywords(TypedDict, total=False):
    """The fields of `CompressOptions` as the keywords of `subbyte.compress` and `subbyte.plan`."""

    method: Methods | None
    bits: float | None
    size: float | None
    latency: float | None
    max_drop: float | None
    timings: File | None
    trials: int
    plan: File | None
    tune: int
    tune_linear: int | None
    seed: int
    device: str
    work: File | None
    activations: Activations
    inline: bool
    samples: int | None
