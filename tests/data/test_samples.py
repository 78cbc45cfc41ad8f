from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subbyte.data import MOST_SEED, InputSpec, Preprocessing, as_samples
from subbyte.errors import CalibrationError, OptionError

FLOAT, INT = np.dtype("float32"), np.dtype("int64")
IMAGE = InputSpec("image", ("N", 3, 4, 5), FLOAT)
FEATURE = InputSpec("x", (None, 7), FLOAT)


def pixels(count: int = 6) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)


def test_preprocessing_follows_its_formula() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    samples = as_samples(pixels(), [IMAGE], Preprocessing(255, mean, std, "nhwc"))
    got = np.concatenate([batch["image"] for batch in samples.batches(4)])
    expected = ((pixels() / 255.0 - mean) / std).transpose(0, 3, 1, 2)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_one_number_serves_all_channels() -> None:
    steps = Preprocessing(1, (127.5,), (127.5,))
    samples = as_samples(pixels().transpose(0, 3, 1, 2), [IMAGE], steps)
    got = next(samples.batches(6))["image"]
    np.testing.assert_allclose(got, pixels().transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)


def test_batches_keep_order_and_remainder() -> None:
    values = np.arange(35, dtype=np.float64).reshape(5, 7)
    parts = [batch["x"] for batch in as_samples(values, [FEATURE]).batches(2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), values)


def test_arrays_are_not_copied_at_construction() -> None:
    data = pixels()
    samples = as_samples(data, [IMAGE], Preprocessing(layout="nhwc"))
    data[0] = 9
    assert (next(samples.batches(1))["image"] == 9).all()


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_gray_images_without_channel_axis(layout: Any) -> None:
    spec = InputSpec("input", ("N", 1, 4, 5), FLOAT)
    steps = Preprocessing(2.0, (1.0,), (), layout)
    batch = next(as_samples(pixels()[..., 0], [spec], steps).batches(6))["input"]
    np.testing.assert_array_equal(batch, pixels()[:, None, :, :, 0] / 2.0 - 1)


def test_features_keep_their_axes_unless_asked() -> None:
    data = np.zeros((2, 9, 4), np.float16)
    assert as_samples(data, [InputSpec("x", ("N", 9, 4), FLOAT)])
    spec = InputSpec("x", ("N", 4, 9), FLOAT)
    with pytest.raises(CalibrationError, match="try `layout=nhwc`"):
        as_samples(data, [spec])
    assert next(as_samples(data, [spec], Preprocessing(layout="nhwc")).batches(2))["x"].shape == (
        2,
        4,
        9,
    )


def test_integer_inputs_stay_integers_and_are_not_scaled() -> None:
    specs = [InputSpec("ids", ("N", "T"), INT), InputSpec("x", ("N", 7), FLOAT)]
    source = {"x": np.ones((2, 7)), "ids": np.array([[1, 2], [3, 4]], np.int32), "y": np.ones(2)}
    samples = as_samples(source, specs, Preprocessing(scale=2))
    assert samples.names == ["ids", "x"]
    batch = next(samples.batches(2))
    assert batch["ids"].dtype == INT
    assert batch["ids"].tolist() == [[1, 2], [3, 4]]
    assert (batch["x"] == 0.5).all()


def test_archive_with_an_array_for_each_input(tmp_path: Path) -> None:
    specs = [InputSpec("a", ("N", 2), FLOAT), InputSpec("b", ("N", 3), FLOAT)]
    path = tmp_path / "two.npz"
    np.savez(path, b=np.ones((4, 3)), a=np.zeros((4, 2)), labels=np.zeros(4))
    batch = next(as_samples(path, specs).batches(4))
    assert {name: array.shape for name, array in batch.items()} == {"a": (4, 2), "b": (4, 3)}


def test_array_named_like_the_input_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, x=np.ones((4, 7)), labels=np.zeros(4))
    assert len(as_samples(path, [FEATURE])) == 4


def test_missing_input_names_what_is_there(tmp_path: Path) -> None:
    specs = [InputSpec("a", ("N", 2), FLOAT), InputSpec("b", ("N", 3), FLOAT)]
    path = tmp_path / "one.npz"
    np.savez(path, a=np.ones((4, 2)))
    with pytest.raises(CalibrationError, match=r"expected a, b, got a float64 \[4, 2\]"):
        as_samples(path, specs)
    with pytest.raises(CalibrationError, match=r"expected a, b, got a$"):
        as_samples({"a": np.ones((4, 2))}, specs)
    with pytest.raises(CalibrationError, match="expected a, b, got one array"):
        as_samples(np.ones((4, 2)), specs)


def test_wrong_shapes() -> None:
    with pytest.raises(
        CalibrationError,
        match=r"'image'.*expected \[N, 3, 4, 5\], got \[6, 4, 5, 3\] \(try `layout=nhwc`\)",
    ):
        as_samples(pixels(), [IMAGE])
    with pytest.raises(CalibrationError, match="try `layout=nchw`"):
        as_samples(pixels().transpose(0, 3, 1, 2), [IMAGE], Preprocessing(layout="nhwc"))
    with pytest.raises(CalibrationError, match=r"expected \[N, 3, 4, 5\], got \[2, 7\]$"):
        as_samples(np.ones((2, 7)), [IMAGE])


@pytest.mark.parametrize("shape", [(), (0, 7)])
def test_no_samples(shape: tuple[int, ...]) -> None:
    with pytest.raises(CalibrationError, match="no samples"):
        as_samples(np.ones(shape), [FEATURE])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_outside_float32_name_the_sample(bad: float) -> None:
    data = np.ones((6, 7))
    data[4, 2] = bad
    with pytest.raises(CalibrationError, match=r"NaN or Inf.*sample 4"):
        as_samples(data, [FEATURE])


def test_wrong_dtypes() -> None:
    with pytest.raises(CalibrationError, match="expected int64, got float64"):
        as_samples(np.ones((2, 2)), [InputSpec("ids", ("N", 2), INT)])
    with pytest.raises(CalibrationError, match="not numeric"):
        as_samples(np.array([["a"] * 7]), [FEATURE])


def test_different_numbers_of_samples() -> None:
    specs = [InputSpec("a", ("N", 2), FLOAT), InputSpec("b", ("N", 2), FLOAT)]
    with pytest.raises(CalibrationError, match="differ in their number of samples"):
        as_samples({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, specs)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_numbers_that_do_not_fit_the_channels(name: str) -> None:
    steps = Preprocessing(layout="nhwc", **{name: (1.0, 2.0)})
    with pytest.raises(CalibrationError, match=f"{name} has the wrong length.*1 or 3.*got 2"):
        as_samples(pixels(), [IMAGE], steps)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 0.0},
        {"scale": float("nan")},
        {"std": (1.0, 0.0)},
        {"mean": (float("inf"),)},
        {"layout": "hwc"},
    ],
)
def test_impossible_preprocessing(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Preprocessing(**arguments)


def test_scaling_several_float_inputs_is_ambiguous() -> None:
    specs = [InputSpec("a", ("N", 2), FLOAT), InputSpec("b", ("N", 2), FLOAT)]
    both = {"a": np.ones((3, 2)), "b": np.ones((3, 2))}
    with pytest.raises(OptionError, match="one float input"):
        as_samples(both, specs, Preprocessing(scale=255))


def test_take_is_a_seeded_subset_in_order() -> None:
    samples = as_samples(np.arange(100.0)[:, None], [InputSpec("x", ("N", 1), FLOAT)])

    def values(seed: int) -> list[float]:
        return next(samples.take(10, seed).batches(100))["x"].ravel().tolist()

    assert values(3) == values(3) != values(4)
    assert values(3) == sorted(set(values(3)))
    assert values(3) != list(range(10))
    assert len(samples.take(1000)) == len(samples.take(None)) == 100
    with pytest.raises(OptionError, match="at least 1, got 0"):
        samples.take(0)
    for seed in (-1, 1 << 32):
        with pytest.raises(OptionError, match="`seed` out of range: expected 0 to 4294967295"):
            samples.take(10, seed)
    assert len(samples.take(10, MOST_SEED)) == 10


def test_first_and_select_count_from_the_subset() -> None:
    samples = as_samples(np.arange(9.0)[:, None], [InputSpec("x", ("N", 1), FLOAT)])
    part = samples.select([7, 3, 5]).first(2)
    assert next(part.batches(9))["x"].ravel().tolist() == [7, 3]
    assert len(samples.first(50)) == 9
    with pytest.raises(OptionError):
        samples.first(-1)


def test_fingerprint_sees_values_order_and_preprocessing() -> None:
    base = as_samples(pixels(), [IMAGE], Preprocessing(layout="nhwc"))
    changed = pixels()
    changed[5, 0, 0, 0] ^= 1
    prints = {
        base.fingerprint(),
        as_samples(changed, [IMAGE], Preprocessing(layout="nhwc")).fingerprint(),
        as_samples(pixels(), [IMAGE], Preprocessing(2, layout="nhwc")).fingerprint(),
        base.select([1, 0, 2, 3, 4, 5]).fingerprint(),
        base.first(3).fingerprint(),
    }
    assert len(prints) == 5
    assert (
        base.fingerprint()
        == as_samples(pixels(), [IMAGE], Preprocessing(layout="nhwc")).fingerprint()
    )
    assert as_samples(base, [IMAGE]) is base
