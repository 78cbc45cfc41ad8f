from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from subbyte.data import ImageOptions, InputSpec, Preprocessing, as_samples
from subbyte.data.preprocessing import PRESETS, as_preprocessing
from subbyte.errors import CalibrationError, OptionError

BYTES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
ALL = (
    Preprocessing(scale=1),
    Preprocessing(2, (1, 2, 3), (0.1, 0.2, 0.3), "nhwc"),
    Preprocessing(layout="nchw"),
    Preprocessing(images=ImageOptions((3, 4), "stretch", 0.5, "bgr")),
    *PRESETS.values(),
)


def test_presets_follow_their_formulas() -> None:
    mean = np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
    expected = {
        "imagenet": (BYTES / 255 - mean) / std,
        "minus-one-to-one": BYTES / 127.5 - 1,
        "zero-to-one": BYTES / 255,
    }
    assert set(expected) == set(PRESETS)
    for name, values in expected.items():
        np.testing.assert_allclose(PRESETS[name].apply(BYTES), values, atol=1e-5)


def test_presets_by_name() -> None:
    assert as_preprocessing("imagenet") is PRESETS["imagenet"]
    assert as_preprocessing(None) is None
    assert Preprocessing(127.5, (1.0,)).preset == "minus-one-to-one"
    assert Preprocessing(127.5).preset is None
    with pytest.raises(OptionError, match=r"expected imagenet or .*, got image-net"):
        as_preprocessing("image-net")  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", ALL, ids=str)
def test_records_give_the_same_back(steps: Preprocessing) -> None:
    record = steps.record()
    assert record is not None
    assert Preprocessing.of_record(record, "a.onnx") == steps
    assert json.loads(record).get("preset") == steps.preset


def test_nothing_said_is_nothing_recorded() -> None:
    assert Preprocessing().record() is None
    assert Preprocessing(2, (1,)).record() == Preprocessing(2.0, (1.0,)).record()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '"x"', "null", '{"scale": 0}', '{"scale": "x"}', '{"size": 3}'),
        *('{"mean": 1}', '{"images": {"size": [1]}}', '{"images": {"resize": "x"}}'),
        '{"images": 3}',
    ],
)
def test_records_of_others_are_named(text: str) -> None:
    with pytest.raises(OptionError, match=r"metadata cannot be read \[a\.onnx\]"):
        Preprocessing.of_record(text, "a.onnx")


@pytest.mark.parametrize(
    ("shape", "layout", "hint"),
    [
        ((2, 6, 5, 3), None, None),
        ((2, 6, 5, 3), "nhwc", None),
        ((2, 3, 6, 5), "nchw", None),
        ((2, 3, 6, 5), None, "nchw"),
        ((2, 3, 6, 5), "nhwc", "nchw"),
        ((2, 6, 5, 3), "nchw", "nhwc"),
    ],
)
def test_models_with_channels_last(shape: tuple[int, ...], layout: Any, hint: str | None) -> None:
    spec = InputSpec("x", ("N", 6, 5, 3), np.dtype("float32"))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    steps = Preprocessing(2, (1, 2, 3), layout=layout)
    if hint is not None:
        with pytest.raises(CalibrationError, match=f"try `layout={hint}`"):
            as_samples(pixels, [spec], steps)
        return
    last = pixels if shape[3] == 3 else pixels.transpose(0, 2, 3, 1)
    got = next(as_samples(pixels, [spec], steps).batches(2))["x"]
    np.testing.assert_allclose(got, last / 2 - np.array([1, 2, 3]), atol=1e-5)
    with pytest.raises(CalibrationError, match="1 or 3 numbers"):
        as_samples(pixels, [spec], Preprocessing(2, (1, 2, 3, 4), layout=layout))


def test_gray_images_for_models_with_channels_last() -> None:
    spec = InputSpec("x", ("N", 6, 5, 1), np.dtype("float32"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5), dtype=np.uint8)
    got = next(as_samples(pixels, [spec]).batches(2))["x"]
    np.testing.assert_array_equal(got[..., 0], pixels)


def test_presets_for_bytes_refuse_values_that_are_scaled_already() -> None:
    spec = InputSpec("x", ("N", 3, 4, 5), np.dtype("float32"))
    for name in PRESETS:
        for scaled in (BYTES / 255, BYTES / 127.5 - 1, BYTES - 128.0):
            with pytest.raises(CalibrationError, match=f"no bytes, and preset {name} is for bytes"):
                as_samples(scaled, [spec], PRESETS[name])
        for values in (BYTES, BYTES.astype(np.float32), BYTES > 127, np.zeros_like(BYTES) / 2):
            assert len(as_samples(values, [spec], PRESETS[name])) == 2
    assert len(as_samples(BYTES / 255, [spec], Preprocessing(mean=(0.5,), std=(0.5,)))) == 2


def test_integers_are_taken_as_they_are() -> None:
    spec = InputSpec("x", ("N", 3, 4, 5), np.dtype("uint8"))
    with pytest.raises(OptionError, match="the model takes integers as they are"):
        as_samples(BYTES, [spec], PRESETS["imagenet"])
    assert len(as_samples(BYTES, [spec], Preprocessing(layout="nchw"))) == 2
