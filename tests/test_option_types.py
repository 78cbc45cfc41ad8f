"""Every field of every options class refuses every value of another type, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest
from numpy.typing import ArrayLike

from subbyte.compression import CompressOptions
from subbyte.compression.exploration.explore import Exploration
from subbyte.data import ImageOptions, Preprocessing
from subbyte.errors import OptionError
from subbyte.methods import METHODS, MethodChoice
from subbyte.option_types import checked, fits, in_words

REQUIRED: dict[type, dict[str, Any]] = {MethodChoice: {"method": "product"}}
OPTIONS = (CompressOptions, Exploration, ImageOptions, MethodChoice, Preprocessing)
METHOD_OPTIONS = tuple(method.options for method in METHODS.values())
VALUES = (
    *(None, True, 5, 2.5, "x", b"x", [], ["x"], [5], (1, 2, 3), {}, {"a": 1}, object()),
    *(print, np.ones(3), np.ones((2, 2)), np.float32(2), np.bool_(True), int, 1j),
)
WRONG = [
    (kind, field.name, value)
    for kind in OPTIONS
    for field in fields(kind)
    for value in VALUES
    if not fits(value, get_type_hints(kind)[field.name])
]


def test_there_are_wrong_values_for_every_field() -> None:
    tried = {(kind, name) for kind, name, _ in WRONG}
    assert tried == {(kind, field.name) for kind in OPTIONS for field in fields(kind)}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_wrong_type_is_named(kind: type) -> None:
    for owner, name, value in WRONG:
        if owner is not kind:
            continue
        with pytest.raises(OptionError) as error:
            kind(**{**REQUIRED.get(kind, {}), name: value})
        text = str(error.value)
        assert text.startswith((f"`{name}` has the wrong type: expected ", f"unknown `{name}`"))
        assert ", got " in text


@pytest.mark.parametrize("kind", METHOD_OPTIONS)
def test_a_wrong_type_of_a_methods_option_is_named(kind: type) -> None:
    for field in fields(kind):
        for value in ([], {}, object(), b"x", 1j, print):
            with pytest.raises(OptionError, match=f"{field.name} has the wrong type: expected"):
                kind(**{field.name: value})


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [1, np.int64(1)], [True, 1.0, "1", None]),
        (float, [1, 2.5, np.float32(1)], [False, "1", 1j]),
        (bool, [True, np.bool_(False)], [0, 1, "true", None]),
        (int | None, [None, 3], ["3"]),
        (str | PathLike[str], ["a", Path("a")], [b"a", 3]),
        (Literal["a", "b"], ["a"], ["c", 1, None, ["a"]]),
        (tuple[int, int], [(1, 2), [1, 2]], [1, (1,), (1, 2, 3), (1, "2")]),
        (tuple[float, ...], [(), (1, 2.5), np.ones(3)], [1.0, ("a",), np.ones((2, 2)), "12"]),
        (Sequence[str], [["a"], ()], ["a", [1], None]),
        (Mapping[str, int], [{}, {"a": 1}], [{"a": "b"}, {1: 1}, [("a", 1)]]),
        (Callable[[int], None], [print], [5, "print"]),
        (ImageOptions | None, [ImageOptions(), None], [{}, ImageOptions]),
        (ArrayLike, [np.ones(3), [1, 2]], []),
        (Any, [None, 5], []),
    ],
)
def test_fits(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value, hint)] == []
    assert [value for value in wrong if fits(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "a whole number"),
        (str | PathLike[str] | None, "a text or a path"),
        (Literal["a", "b", "c"] | None, "a or b or c"),
        (tuple[float, ...], "numbers"),
        (tuple[int, int], "(a whole number, a whole number)"),
        (Sequence[str], "texts"),
        (Mapping[str, int | None], "a dict from a text to a whole number"),
        (Callable[[int], None], "a function"),
        (Preprocessing | Literal["x"], "Preprocessing or x"),
    ],
)
def test_in_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words


@checked
def scaled(values: ArrayLike, *, by: float = 1.0, name: str | None = None) -> float:
    """A function of the interface."""
    return float(np.sum(np.multiply(values, by)))


def test_checked_functions() -> None:
    assert scaled([1, 2], by=np.float32(2)) == 6
    assert scaled.__name__ == "scaled"
    with pytest.raises(OptionError, match=r"^`by` has the wrong type: expected a number, got '2'$"):
        scaled([1], by="2")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="scaled: got an unexpected keyword argument 'bye'"):
        scaled([1], bye=2)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="scaled: missing a required argument: 'values'"):
        scaled()  # type: ignore[call-arg]


def test_large_values_are_told_by_their_type() -> None:
    with pytest.raises(OptionError, match=r"got an object of type list$"):
        scaled([1], by=[1.0] * 100)  # type: ignore[arg-type]
