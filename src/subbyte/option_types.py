"""Checks of options against their type annotations: a wrong type is a named error.

The annotations are the only list of types. A dataclass calls `check_fields`; a function of the
interface has the decorator `checked`. Numbers are never bool, and numpy's scalars are numbers.
Annotations that say no more than "any object" are not checked. ``Annotated[hint, "words"]`` has the
words for messages, where the hint does not tell enough.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np

from subbyte.errors import OptionError

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 80  # characters of a wrong value in a message
_WORDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    os.PathLike: "a path",
}
_PLURALS: Mapping[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def check_fields(options: Any) -> None:
    """Check every field of a dataclass' instance against its annotation.

    Raises:
        OptionError: the first field of another type: its name, the expected type, the value.
    """
    hints = _hints(type(options))  # type: ignore[arg-type]  # a class has a hash
    for field in fields(options):
        check_type(field.name, getattr(options, field.name), hints[field.name])


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, which checks its arguments against their annotations when it is called.

    Raises:
        OptionError: as `check_fields`; an argument that there is not, or one that is missing.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise OptionError(
                f"{function.__name__}: {error}", expected=", ".join(signature.parameters)
            ) from None
        hints = _hints(function)
        for name, value in given.items():
            if signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                check_type(name, value, hints[name])
        return function(*args, **kwargs)

    return call


def check_type(name: str, value: object, hint: Any) -> None:
    """Raise `OptionError` unless ``value`` is of the type ``hint``."""
    if fits(value, hint):
        return
    said = in_words(hint)
    if isinstance(value, str) and any(get_origin(each) is Literal for each in _members(hint)):
        raise OptionError(f"unknown `{name}`", expected=said, got=value)
    raise OptionError(f"`{name}` has the wrong type", expected=said, got=_shown(value))


def fits(value: object, hint: Any) -> bool:
    """Whether ``value`` is of the type ``hint``; True where that cannot be told."""
    if hint is Any:
        return True
    if hint is None or hint is type(None):
        return value is None
    origin = get_origin(hint)
    if origin is Annotated:
        return fits(value, get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin is None:
        return _is(value, hint)
    return _holds(value, origin, get_args(hint))


def _is(value: object, kind: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    # Protocols say what an object can do; only the work tells.
    if not isinstance(kind, type) or is_typeddict(kind) or getattr(kind, "_is_protocol", False):
        return True
    return isinstance(value, kind)


def _holds(value: object, origin: Any, items: tuple[Any, ...]) -> bool:
    """Whether ``value`` is a container of type ``origin`` with such ``items``."""
    if getattr(origin, "_is_protocol", False) or not isinstance(origin, type):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, origin) and all(
            fits(key, items[0]) and fits(item, items[1]) for key, item in value.items()
        )
    if not issubclass(origin, Sequence):
        return isinstance(value, origin)
    # A text is a sequence of texts, and hardly ever meant as one.
    if not _is_row(value) or isinstance(value, str):
        return False
    several = items if origin is tuple and items[-1] is not Ellipsis else items[:1] * len(value)
    return len(several) == len(value) and all(map(fits, value, several))


def _is_row(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1)


def in_words(hint: Any) -> str:
    """The type ``hint`` in a few words, without its None."""
    if get_origin(hint) is Annotated:
        return str(get_args(hint)[1])
    found = [_one_in_words(each) for each in _members(hint) if each is not type(None)]
    *first, last = dict.fromkeys(found)
    return f"{', '.join(first)} or {last}" if first else last


def _one_in_words(hint: Any) -> str:
    origin, items = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(items)
    if hint in _WORDS or origin in _WORDS:
        return _WORDS[hint if hint in _WORDS else origin]
    if origin is tuple and items[-1] is not Ellipsis:
        return f"({', '.join(map(in_words, items))})"
    if origin is Callable:
        return "a function"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a dict from {in_words(items[0])} to {in_words(items[1])}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _PLURALS.get(items[0], f"several of {in_words(items[0])}")
    return str(getattr(hint, "__name__", hint))


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
    return get_type_hints(owner, include_extras=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"an object of type {type(value).__name__}"
