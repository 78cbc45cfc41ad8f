"""The options of a method: a frozen dataclass whose fields are its keys everywhere.

The fields are the keys of a plan file and of ``--set KEY=VALUE``, the keywords of Python, the
list of ``subbyte methods`` and the tables of the method pages. Type, range and help text stand
in the fields' metadata (`option`), and every value is checked against them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from subbyte.errors import OptionError
from subbyte.methods.binarization import Binarization

Value = int | float | bool | str
"""The value of an option."""

Given = Mapping[str, Value]
"""The options that a user fixes, by name. Planning chooses the others."""

Fit = Literal["corrected", "responses", "weights"]
"""The target that a layer is fitted to.

``corrected`` (ours): W* with a new bias, shortcuts made good and outputs balanced. ``responses``:
W* alone, the bias kept (Q-CNN's error correction). ``weights``: the float weight itself, the bias
kept.
"""

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


@dataclass(frozen=True)
class Setting:
    """One option: its ``name``, ``kind`` (int, float, bool or str), help text, default and range.

    ``allowed``: the values there are, if they are few. Otherwise ``least`` to ``most``, without
    ``least`` itself where ``above`` says so. ``why``: by value, the reason it is out of range.
    ``rare``: a plan file has it only where it is not the default.
    """

    name: str
    kind: type
    help: str
    default: Value | None = None
    allowed: Sequence[Value] | None = None
    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    why: Mapping[Value, str] = dataclasses.field(default_factory=dict)
    rare: bool = False

    @property
    def values(self) -> str:
        """The range in words: ``1, 2 or 4``; ``1 to 8``; ``above 0, to 1``."""
        if self.kind is bool:
            return "true or false"
        if self.allowed is not None and self.kind is str:
            return " or ".join(map(str, self.allowed))
        if isinstance(self.allowed, range):
            return f"{self.allowed[0]} to {self.allowed[-1]}"
        if self.allowed is not None:
            *first, last = map(str, self.allowed)
            return f"{', '.join(first)} or {last}"
        if self.most == math.inf:
            return f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        return f"above {self.least:g}, to {self.most:g}" if self.above else self._span

    @property
    def _span(self) -> str:
        return f"{self.least:g} to {self.most:g}"

    def check(self, value: object, method: str) -> Value:
        """``value`` in the option's own type.

        Raises:
            OptionError: another type, or out of range.
        """
        found = self._typed(value)
        if found is None:
            raise OptionError(
                f"{method}: {self.name} has the wrong type",
                expected=_KINDS[self.kind],
                got=repr(value),
            )
        if not self._holds(found):
            what = f"unknown {self.name}" if self.kind is str else f"{self.name} out of range"
            why = f": {self.why[found]}" if found in self.why else ""
            raise OptionError(f"{method}: {what}{why}", expected=self.values, got=value)
        return found

    def read(self, text: str, method: str) -> Value:
        """The value of ``text``, as the command line has it.

        Raises:
            OptionError: as `check`.
        """
        if self.kind is bool:
            return self.check({"true": True, "false": False}.get(text.lower(), text), method)
        if self.kind is str:
            return self.check(text, method)
        try:
            return self.check(self.kind(text), method)
        except ValueError as error:
            raise OptionError(
                f"{method}: cannot read {self.name}", expected=_KINDS[self.kind], got=text
            ) from error

    def _holds(self, found: Value) -> bool:
        if self.allowed is not None or isinstance(found, str):
            return self.allowed is None or found in self.allowed
        return self.least < found <= self.most if self.above else self.least <= found <= self.most

    def _typed(self, value: object) -> Value | None:
        if isinstance(value, bool):
            return value if self.kind is bool else None
        if self.kind in (bool, str):
            return value if isinstance(value, str) and self.kind is str else None
        if self.kind is int:
            return int(value) if isinstance(value, Integral) else None
        return float(value) if isinstance(value, Real) else None


def option(help: str, default: Value | None = None, **range_of: Any) -> Any:
    """A field of `MethodOptions`; ``range_of``: ``allowed``, ``least``, ``most``, ``above``,
    ``why`` and ``rare`` of its `Setting`.

    An option without a default may be None until a plan chooses it.
    """
    metadata = {"help": help, **range_of}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class MethodOptions:
    """How one weight is coded. A method's own options are its subclass; ``method``: its name.

    The properties have the usual answers; a method overrides the ones that differ.
    """

    method: ClassVar[str]

    def __post_init__(self) -> None:
        for name, setting in self.settings().items():
            value = getattr(self, name)
            if value is not None or setting.default is not None:
                object.__setattr__(self, name, setting.check(value, self.method))

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """The options by name."""
        return _settings(cls)  # type: ignore[arg-type]  # a class has a hash

    def values(self) -> dict[str, Value]:
        """The options that are set, as a plan file has them."""
        found = {name: (getattr(self, name), each) for name, each in self.settings().items()}
        return {
            name: value
            for name, (value, each) in found.items()
            if value is not None and not (each.rare and value == each.default)
        }

    def describe(self) -> str:
        """Method and options in a few words."""
        return ", ".join([self.method, *(f"{k} {v}" for k, v in self.values().items())])

    @property
    def published(self) -> bool:
        """Whether this is a paper's own procedure for weights that were not trained for it. A
        plan with one rounds the layers that stay at 8 bits and fits nothing else."""
        return False

    @property
    def trains_linear(self) -> bool:
        """Whether linear layers are trained once the convolutions are coded, unless told."""
        return False

    @property
    def binarization(self) -> Binarization | None:
        """How the input of a layer with these options is binarized; None: it is not."""
        return None

    def fit(self, published: bool) -> Fit:
        """The target that a layer is fitted to, in a plan that is ``published`` or not."""
        del published
        return "corrected"


@functools.cache
def _settings(options: type[MethodOptions]) -> dict[str, Setting]:
    hints = get_type_hints(options)
    found = {}
    for field in dataclasses.fields(options):
        default: Any = field.default
        kind = _kind(hints[field.name])
        found[field.name] = Setting(field.name, kind, default=default, **field.metadata)
    return found


def _kind(hint: Any) -> type:
    """int, float, bool or str of a type hint, without its None; of a Literal, its values' type."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    return hint if isinstance(hint, type) else type(hint)
