"""Options as fields: what they accept, how a user gives them, and the tables made of them."""

from __future__ import annotations

import pickle

import pytest

from benchmarks.pages import option_tables
from subbyte.errors import OptionError
from subbyte.methods import (
    METHODS,
    Binary,
    Composite,
    MethodChoice,
    Product,
    Scalar,
    Ternary,
    choices_of,
    read_choices,
)

NAMES = list(METHODS)


@pytest.mark.parametrize("method", NAMES)
def test_every_option_is_described_and_its_default_is_one_it_takes(method: str) -> None:
    for name, setting in METHODS[method].options.settings().items():
        assert setting.name == name
        assert setting.help
        assert setting.values
        if setting.default is not None:
            assert setting.check(setting.default, method) == setting.default
            assert setting.read(str(setting.default), method) == setting.default


@pytest.mark.parametrize("method", NAMES)
def test_a_page_has_the_table_of_its_options(method: str) -> None:
    """If not: python -m benchmarks.pages.option_tables."""
    path = option_tables.PAGES / f"{method}.md"
    assert path.read_text() == option_tables.page(method)


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("value", [object(), [], 1j, None])
def test_another_type_is_an_error(method: str, value: object) -> None:
    for name in METHODS[method].options.settings():
        with pytest.raises(OptionError, match=f"{method}: {name} has the wrong type"):
            METHODS[method].checked({name: value})


def test_whole_numbers_are_numbers_and_truth_is_not() -> None:
    assert METHODS["composite"].checked({"bits": 3}) == {"bits": 3.0}
    with pytest.raises(OptionError, match=r"gain has the wrong type.*a whole number, got True"):
        METHODS["product"].checked({"gain": True})
    with pytest.raises(OptionError, match="gain has the wrong type"):
        METHODS["product"].checked({"gain": 3.0})


def test_a_choice_keeps_what_was_said_and_no_more() -> None:
    assert Product(group=8, gain=3) == MethodChoice("product", {"group": 8, "gain": 3})
    assert Product(8) == MethodChoice("product", {"group": 8})
    for choose, name in zip((Product, Scalar, Ternary, Composite, Binary), NAMES, strict=True):
        assert choose() == MethodChoice(name)
        assert choose.__name__ == name.title()
    assert hash(Scalar(bits=2)) == hash(MethodChoice("scalar", {"bits": 2}))
    assert pickle.loads(pickle.dumps(Product(words=32))) == Product(words=32)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((), "no method is named"),
        ("spline", "unknown method: expected product, scalar"),
        (("scalar", Scalar(bits=2)), "named twice"),
    ],
)
def test_methods_that_are_none(wanted: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        choices_of(wanted)  # type: ignore[arg-type]


def test_settings_go_to_every_method_that_has_them_or_to_one() -> None:
    names = ["product", "composite", "scalar"]
    assert read_choices(names, ["procedure=corrected, gain=2", "composite.bits=3"]) == (
        Product(procedure="corrected", gain=2),
        Composite(procedure="corrected", bits=3.0),
        Scalar(),
    )
    assert read_choices(["scalar"], ["exact=TRUE"]) == (Scalar(exact=True),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gain", "cannot read `set`: expected KEY=VALUE, got gain"),
        ("", "cannot read `set`"),
        ("gain=three", "product: cannot read gain: expected a whole number, got three"),
        ("gain=9", "product: gain out of range: expected 0 to 4, got 9"),
        ("shared=perhaps", "product: shared has the wrong type: expected true or false"),
        ("bits=2", "`set` bits: no such option: expected product: group, words"),
        ("scalar.bits=2", "`set` scalar.bits: no such option"),
    ],
)
def test_settings_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read_choices(["product"], [text])
