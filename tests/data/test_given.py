from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subbyte.data import InputSpec
from subbyte.data.given import given_parts, read_value
from subbyte.errors import CalibrationError, OptionError

FLOAT = np.dtype(np.float32)
SPECS = [
    InputSpec("rate", (), np.dtype(np.int64)),
    InputSpec("state", (2, "N", 3), FLOAT, 1),
    InputSpec("mean", (1, 3, 1, 1), FLOAT, None),
    InputSpec("a=b:0", ("N",), FLOAT),
    InputSpec("sound", ("N", "T"), FLOAT),
    InputSpec("flag", (1,), np.dtype(bool), None),
]


def given(text: str) -> np.ndarray[Any, Any]:
    (part,) = given_parts([text], SPECS).values()
    return part.batch(2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16000", 16000),
        ("-1.5", -1.5),
        ("1,2, 3", [1, 2, 3]),
        ("0.5,1", [0.5, 1]),
        ("true", True),
        ("False,true", [False, True]),
        ("7,", None),
        ("x", None),
        ("", None),
    ],
)
def test_reading_numbers(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(OptionError, match="expected numbers"):
            read_value(text)
    else:
        assert read_value(text).tolist() == value


def test_reading_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", **{"x:0": np.ones(2), "y": np.zeros(1)})
    assert read_value(f"{tmp_path}/a.npy").tolist() == [0, 1, 2]
    assert read_value(f"{tmp_path}/b.npz:x:0").tolist() == [1, 1]
    with pytest.raises(CalibrationError, match="no such data file"):
        read_value(f"{tmp_path}/c.npz:x")


def test_values_take_the_shape_of_their_input(tmp_path: Path) -> None:
    assert given("rate=16000") == 16000
    assert given("rate=16000").shape == ()
    assert given("state=0.5").tolist() == [[[0.5] * 3] * 2] * 2
    assert given("mean=1,2,3").ravel().tolist() == [1, 2, 3]
    assert given("mean=1,2,3").shape == (1, 3, 1, 1)
    assert given("a=b:0=4").tolist() == [4, 4]
    assert given("sound=1,2,3,4").tolist() == [[1, 2, 3, 4]] * 2
    assert given("flag=true").tolist() == [True]
    np.save(tmp_path / "s.npy", np.arange(6.0).reshape(2, 3))
    assert given(f"state={tmp_path}/s.npy")[:, 1].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate", "expected NAME=VALUE, got rate"),
        ("speed=1", "no such input.*expected rate, state, .*got speed"),
        ("rate=1.5", "wrong dtype.*expected int64"),
        ("rate=1,2", r"does not fit.*'rate'.*expected \[\], got \[2\]"),
        ("state=1,2", r"expected \[2, N, 3\] with N = 1, got \[2\]"),
        ("state=nan", "NaN or Inf in the value for input 'state'"),
        ("sound=1", "does not fit"),
        ("flag=2", "values outside bool.*expected 0 to 1"),
    ],
)
def test_values_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises((OptionError, CalibrationError), match=message):
        given_parts([text], SPECS)


def test_values_from_python() -> None:
    parts = given_parts({"rate": 8000, "state": np.zeros((2, 1, 3)), "flag": False}, SPECS)
    assert parts["rate"].batch(1) == 8000
    assert parts["state"].batch(5).shape == (2, 5, 3)
    assert given_parts(None, SPECS) == {}
