"""Arrays that are no plain samples, on their way through `as_samples`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subbyte.data import InputSpec, Samples, as_samples
from subbyte.data.specs import find_axes
from subbyte.errors import CalibrationError, OptionError

FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)
VOICE = find_axes(
    [
        InputSpec("x", ("N", 8), FLOAT),
        InputSpec("state", (2, "N", 4), FLOAT),
        InputSpec("rate", (), INT),
        InputSpec("gain", (1,), FLOAT),
    ]
)
X = np.arange(48.0).reshape(6, 8)
STATE = np.arange(48.0).reshape(2, 6, 4)
GAIN = np.array([0.5])


def voice(**arrays: Any) -> Samples:
    return as_samples({"x": X, "state": STATE, "rate": 16000, "gain": GAIN} | arrays, VOICE)


def test_every_batch_has_its_share_of_each_input() -> None:
    samples = voice()
    assert len(samples) == 6
    first, second = samples.batches(4)
    assert (first.count, second.count) == (4, 2)
    np.testing.assert_array_equal(second["x"], X[4:])
    np.testing.assert_array_equal(second["state"], STATE[:, 4:])
    assert second["state"].flags.c_contiguous
    assert second["rate"].shape == ()
    assert second["rate"] == 16000
    assert second["rate"].dtype == INT
    np.testing.assert_array_equal(first["gain"], np.float32([0.5]))
    assert sorted(samples.fixed) == ["gain", "rate"]


@pytest.mark.parametrize(
    "state", [STATE[:, 0], STATE[:, :1], STATE[None, :, :1]], ids=["row", "one sample", "one call"]
)
def test_a_value_without_samples_is_that_of_all(state: np.ndarray) -> None:
    batch = next(voice(state=state).batches(3))
    np.testing.assert_array_equal(batch["state"], np.repeat(STATE[:, :1], 3, axis=1))


def test_one_array_a_call() -> None:
    stacked = np.moveaxis(STATE, 1, 0)[:, :, None]
    batch = next(voice(x=X[:, None], state=stacked).batches(6))
    np.testing.assert_array_equal(batch["x"], X)
    np.testing.assert_array_equal(batch["state"], STATE)


def test_a_value_repeated_for_each_sample_is_one_value() -> None:
    samples = voice(rate=np.full(6, 8000), gain=np.full((6, 1), 0.25))
    assert not samples.single
    batch = next(samples.batches(6))
    assert batch["rate"] == 8000
    assert batch["gain"].tolist() == [0.25]


@pytest.mark.parametrize("gains", [np.arange(6.0), np.arange(6.0)[:, None]])
def test_another_value_for_each_sample_makes_batches_of_one(gains: np.ndarray) -> None:
    samples = voice(gain=gains, rate=np.arange(6) + 1)
    assert samples.single
    batches = list(samples.select([1, 4]).batches(64))
    assert [batch["gain"].tolist() for batch in batches] == [[1.0], [4.0]]
    assert [int(batch["rate"]) for batch in batches] == [2, 5]
    np.testing.assert_array_equal(batches[1]["x"], X[4:5])


def test_a_network_without_a_batch_takes_one_sample_at_a_time() -> None:
    (spec,) = find_axes([InputSpec("image", (3, 4, 4), FLOAT)])
    samples = as_samples(np.ones((5, 3, 4, 4)), [spec])
    assert samples.single
    assert [batch["image"].shape for batch in samples.batches(9)] == [(3, 4, 4)] * 5
    assert len(as_samples(np.ones((1, 3, 4, 4)), [spec])) == 1


def test_the_axis_that_has_as_many_samples_as_the_others() -> None:
    specs = find_axes([InputSpec("x", (None, 8), FLOAT), InputSpec("h", (None, None, 4), FLOAT)])
    samples = as_samples({"x": X, "h": STATE}, specs)
    assert [spec.axis for spec in samples.inputs] == [0, 1]
    with pytest.raises(CalibrationError, match=r"differ.*`batch_axes=\{'NAME': K\}`.*x': 6.*h': 2"):
        as_samples({"x": X, "h": np.ones((2, 5, 4))}, specs)


def test_the_axis_that_a_user_names_holds() -> None:
    specs = find_axes([InputSpec("x", ("T", "C", 4), FLOAT)])
    samples = as_samples(STATE, specs, batch_axes={"x": 1})
    assert len(samples) == 6
    np.testing.assert_array_equal(next(samples.batches(2))["x"], STATE[:, :2])
    whole = as_samples(
        {"x": STATE, "y": X},
        [*specs, VOICE[0].__class__("y", ("N", 8), FLOAT)],
        batch_axes={"x": None},
    )
    np.testing.assert_array_equal(next(whole.batches(2))["x"], STATE)


def test_values_that_are_set() -> None:
    given = {"state": 0, "rate": 16000, "gain": [0.5]}
    samples = as_samples(X, VOICE, set_inputs=given)
    batch = next(samples.batches(4))
    assert batch["state"].shape == (2, 4, 4)
    assert not batch["state"].any()
    folded = as_samples(X, VOICE, set_inputs=given, fold_inputs=True)
    assert folded.names == ["x"]
    assert list(next(folded.batches(4))) == ["x"]
    assert sorted(folded.choice.folded) == ["gain", "rate", "state"]
    assert folded.fingerprint() != samples.fingerprint()


def test_the_fingerprint_sees_values_and_axes() -> None:
    prints = {
        voice().fingerprint(),
        voice(rate=8000).fingerprint(),
        voice(gain=np.arange(6.0)).fingerprint(),
        voice(state=STATE[:, :1]).fingerprint(),
    }
    assert len(prints) == 4
    assert voice().fingerprint() == voice().compact().fingerprint()


def test_no_input_has_samples() -> None:
    with pytest.raises(CalibrationError, match="no samples"):
        as_samples({"rate": 1}, VOICE, set_inputs={"x": 0, "state": 0, "gain": 1})
    with pytest.raises(CalibrationError, match="no samples"):
        as_samples(X, VOICE[:1], set_inputs={"x": 0})
    with pytest.raises(OptionError, match="no input to fold"):
        as_samples(X, VOICE[:1], fold_inputs=True)


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 256), ("uint8", -1), ("int32", 1 << 40), ("bool", 2)]
)
def test_integers_that_the_model_cannot_hold_name_the_sample(dtype: str, value: int) -> None:
    data = np.zeros((6, 3), np.int64)
    data[4, 1] = value
    with pytest.raises(CalibrationError, match=rf"values outside {dtype}.*sample 4"):
        as_samples(data, [InputSpec("ids", ("N", 3), np.dtype(dtype))])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint16", "bool", "float16"])
def test_inputs_of_every_type(dtype: str) -> None:
    spec = InputSpec("ids", ("N", 3), np.dtype(dtype))
    batch = next(as_samples(np.ones((2, 3), np.uint8), [spec]).batches(2))
    assert batch["ids"].dtype == np.dtype(dtype)
    assert batch["ids"].all()


def test_lengths_of_sound_are_free() -> None:
    spec = InputSpec("sound", (None, "time"), FLOAT)
    for length in (1, 400, 16001):
        (batch,) = as_samples(np.zeros((2, length)), [spec]).batches(2)
        assert batch["sound"].shape == (2, length)


def test_preprocessing_is_of_samples_alone() -> None:
    from subbyte.data import Preprocessing

    specs = find_axes([InputSpec("x", ("N", 8), FLOAT), InputSpec("gain", (1,), FLOAT)])
    samples = as_samples({"x": X, "gain": GAIN}, specs, Preprocessing(scale=2))
    batch = next(samples.batches(6))
    np.testing.assert_array_equal(batch["x"], X / 2)
    assert batch["gain"] == 0.5
