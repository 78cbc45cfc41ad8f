from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import subbyte
from subbyte.data import Preprocessing
from subbyte.data.preprocessing import METADATA_KEY, PRESETS
from subbyte.errors import OptionError
from subbyte.runtime.metadata import read_metadata, recorded_preprocessing
from tests import tiny


def model_with(path: Path, metadata: dict[str, str]) -> Path:
    model = tiny.classifier()
    onnx.helper.set_model_props(model, metadata)
    return tiny.save(model, path)


def test_metadata_are_those_that_onnx_reads(tmp_path: Path) -> None:
    metadata = {"a": "b", "é": "日本", "": "", "long": "x" * 1000}
    assert read_metadata(model_with(tmp_path / "a.onnx", metadata)) == metadata
    assert read_metadata(model_with(tmp_path / "b.onnx", {})) == {}


@pytest.mark.parametrize("keep", [0, 1, 50, 1000, -1, -30])
def test_truncated_files_have_no_metadata_or_all(tmp_path: Path, keep: int) -> None:
    path = model_with(tmp_path / "a.onnx", {"a": "b"})
    path.write_bytes(path.read_bytes()[:keep])
    assert read_metadata(path) in ({}, {"a": "b"})


def test_other_files_have_none(tmp_path: Path) -> None:
    for content in (b"text that is no model", bytes(range(256)), b"\xff" * 40, b"PK\x03\x04"):
        (tmp_path / "a").write_bytes(content)
        assert read_metadata(tmp_path / "a") == {}
    assert read_metadata(tmp_path) == {}
    assert read_metadata(tmp_path / "none") == {}


def test_damaged_bytes_never_fail(tmp_path: Path) -> None:
    data = bytearray(model_with(tmp_path / "a.onnx", {METADATA_KEY: "{}"}).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "b.onnx").write_bytes(damaged)
        assert isinstance(read_metadata(tmp_path / "b.onnx"), dict)


def test_a_loaded_model_has_the_preprocessing_of_its_file(tmp_path: Path) -> None:
    steps = PRESETS["imagenet"]
    path = model_with(tmp_path / "a.onnx", {METADATA_KEY: steps.record() or ""})
    assert subbyte.load(path).preprocessing == steps == recorded_preprocessing(path)
    plain = model_with(tmp_path / "b.onnx", {})
    assert subbyte.load(plain).preprocessing is None
    assert recorded_preprocessing(plain) is None
    bad = model_with(tmp_path / "c.onnx", {METADATA_KEY: "scale"})
    with pytest.raises(OptionError, match=r"metadata cannot be read \[.*c\.onnx\]"):
        _ = subbyte.load(bad).preprocessing


def test_a_loaded_model_takes_images(tmp_path: Path) -> None:
    record = Preprocessing(2.0, (1.0,)).record() or ""
    model = subbyte.load(model_with(tmp_path / "a.onnx", {METADATA_KEY: record}))
    (tmp_path / "photos").mkdir()
    pixels = tiny.images(3)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    samples = model.samples(tmp_path / "photos")
    assert samples.folder is not None
    order = samples.folder.places
    (batch,) = samples.batches(8)
    expected = pixels[order].transpose(0, 3, 1, 2) / 2.0 - 1
    np.testing.assert_allclose(batch["input"], expected, atol=1e-6)
    assert np.asarray(model.run(batch)).shape == (3, tiny.CLASSES)
    other = next(model.samples(tmp_path / "photos", "zero-to-one", count=1).batches(1))["input"]
    np.testing.assert_allclose(255 * other[0], pixels[order[0]].transpose(2, 0, 1), atol=1e-4)
