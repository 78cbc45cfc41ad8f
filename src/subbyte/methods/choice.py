"""Methods that a user allows, with the options that the user fixes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec

from subbyte.errors import OptionError
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.options import Given, MethodOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.registry import METHODS
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.option_types import check_fields

P = ParamSpec("P")


@dataclass(frozen=True)
class MethodChoice:
    """A method that layers may be coded with.

    ``options``: the options that are fixed, by name; planning chooses the others. The defaults of
    `MethodOptions` are for weights in a plan, and do not hold here.

    Raises:
        OptionError: an unknown method or option, or a value out of range.
    """

    method: str
    options: Given = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.method not in METHODS:
            raise OptionError("unknown method", expected=", ".join(METHODS), got=self.method)
        object.__setattr__(self, "options", METHODS[self.method].checked(self.options))

    def __hash__(self) -> int:
        return hash((self.method, frozenset(self.options.items())))


def choices_of(
    wanted: str | MethodChoice | Iterable[str | MethodChoice],
) -> tuple[MethodChoice, ...]:
    """One method or several, by name or with options.

    Raises:
        OptionError: none, an unknown one, or one named twice.
    """
    several = (wanted,) if isinstance(wanted, str | MethodChoice) else tuple(wanted)
    found = tuple(
        each if isinstance(each, MethodChoice) else MethodChoice(each) for each in several
    )
    names = [each.method for each in found]
    if not found or len(set(names)) < len(names):
        what = "a method is named twice" if found else "no method is named"
        raise OptionError(what, expected=", ".join(METHODS), got=", ".join(names))
    return found


def read_choices(names: Sequence[str], settings: Iterable[str] = ()) -> tuple[MethodChoice, ...]:
    """The methods ``names`` with options as the command line has them: ``KEY=VALUE``, several
    with commas between. A key holds for all named methods that have it, ``METHOD.KEY`` for one.

    Raises:
        OptionError: as `choices_of`; no method that is named has the option.
    """
    given: dict[str, dict[str, object]] = {each.method: {} for each in choices_of(names)}
    for text in (part.strip() for each in settings for part in each.split(",")):
        path, mark, value = text.partition("=")
        only, _, key = path.strip().rpartition(".")
        if not mark:
            raise OptionError("cannot read `set`", expected="KEY=VALUE", got=text)
        takers = [name for name in given if only in ("", name) and METHODS[name].setting(key)]
        if not takers:
            raise OptionError(
                f"`set` {path.strip()}: no such option",
                expected="; ".join(
                    f"{n}: {', '.join(METHODS[n].options.settings())}" for n in given
                ),
            )
        for name in takers:
            setting = METHODS[name].options.settings()[key]
            given[name][key] = setting.read(value.strip(), name)
    return choices_of(MethodChoice(name, options) for name, options in given.items())  # type: ignore[arg-type]


def _listed(method: str) -> str:
    return f"{method}: {', '.join(METHODS[method].options.settings())}"


def choice_of(options: Callable[P, MethodOptions]) -> Callable[P, MethodChoice]:
    """A function with the arguments of a method's options that fixes the given ones."""
    signature = inspect.signature(options)
    name = options.method  # type: ignore[attr-defined]

    def choose(*args: P.args, **kwargs: P.kwargs) -> MethodChoice:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            known = ", ".join(signature.parameters)
            raise OptionError(f"{name}: {error}", expected=known) from None
        return MethodChoice(name, given)

    choose.__name__ = choose.__qualname__ = name.title()
    choose.__doc__ = (
        f"The method {name}, with options that are fixed. Planning chooses the others; the "
        "defaults of a plan file do not hold for them."
    )
    return choose


Product = choice_of(ProductOptions)
Scalar = choice_of(ScalarOptions)
Ternary = choice_of(TernaryOptions)
Composite = choice_of(CompositeOptions)
Binary = choice_of(BinaryOptions)
