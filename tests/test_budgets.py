"""How budgets are written."""

from __future__ import annotations

import pytest

from subbyte.budgets import Budget, parse_drop, parse_latency, parse_size
from subbyte.errors import OptionError


@pytest.mark.parametrize(
    ("text", "size"),
    [("2MB", 2_000_000), ("500 kB", 500_000), ("1.5MiB", 3 << 19), ("70000", 70000), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "time"), [("3ms", 3), ("250us", 0.25), ("0.1s", 100), ("2", 2)])
def test_times(text: str, time: float) -> None:
    assert parse_latency(text) == pytest.approx(time)


def test_shares() -> None:
    assert parse_drop("0.5%") == parse_drop(".5") == 0.5


@pytest.mark.parametrize("text", ["", "MB", "-2MB", "2 parsecs", "1e3", "nan", "2MB!"])
def test_what_cannot_be_read(text: str) -> None:
    for parse, option in (
        (parse_size, "`size`"),
        (parse_latency, "`latency`"),
        (parse_drop, "`max_drop`"),
    ):
        with pytest.raises(OptionError, match=f"cannot read {option}"):
            parse(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bits", 0.05),
        ("bits", 8.1),
        ("bits", float("nan")),
        ("size", 0.0),
        ("latency", -1.0),
        ("latency", float("inf")),
        ("max_drop", 0.0),
        ("max_drop", 100.0),
    ],
)
def test_out_of_range(kind: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"`{kind}` out of range"):
        Budget(kind, value)  # type: ignore[arg-type]


def test_in_words() -> None:
    assert str(Budget("bits", 2.5)) == "at most 2.5 bits per weight"
    assert str(Budget("size", 70000)) == "a file of at most 70000 bytes"
