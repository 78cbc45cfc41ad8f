"""Files in, a file out: by a teacher or by labels, through Python and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subbyte
from subbyte.errors import CalibrationError, OptionError
from subbyte.train import tune
from tests import tiny
from tests.cli.invoked import fails, run
from tests.compression.nets import ROUGH_PLAN, classifier, smooth_images

IMAGES = smooth_images(400, size=tiny.SIZE)
MODEL = classifier(IMAGES)
LABELS = (IMAGES.mean((1, 2, 3)) > 0).astype(np.int64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(MODEL, tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    (tmp_path / "plan.toml").write_text(ROUGH_PLAN)
    subbyte.compress(MODEL, tmp_path / "small.onnx", IMAGES, plan=tmp_path / "plan.toml")
    return tmp_path


def test_by_a_teacher(folder: Path) -> None:
    found = run(
        *("tune", folder / "small.onnx", "-o", folder / "tuned.onnx", "--steps", 200),
        *("--data", f"{folder}/data.npz:x", "--float-network", folder / "float.onnx"),
        *("--rate-factor", 3, "--json", folder / "result.json"),
    )
    assert found.exit_code == 0, found.output
    result = json.loads((folder / "result.json").read_text())
    assert result["held_back"] == 40
    assert result["loss_after"] < 0.9 * result["loss_before"]
    assert "before" in found.output
    kl = [
        subbyte.evaluate(folder / name, IMAGES, float_network=folder / "float.onnx").kl
        for name in ("small.onnx", "tuned.onnx")
    ]
    assert kl[1] < 0.95 * kl[0]
    sizes = [(folder / name).stat().st_size for name in ("small.onnx", "tuned.onnx")]
    assert abs(sizes[1] - sizes[0]) < 20


def test_by_labels(folder: Path) -> None:
    found = run(
        *("tune", folder / "small.onnx", "-o", folder / "tuned.onnx", "--steps", 40, "--bf16"),
        *(
            "--data",
            f"{folder}/data.npz:x",
            "--labels",
            f"{folder}/data.npz:y",
            "--rate-factor",
            10,
        ),
    )
    assert found.exit_code == 0, found.output
    scores = [
        subbyte.evaluate(folder / name, IMAGES, LABELS).top1
        for name in ("small.onnx", "tuned.onnx")
    ]
    assert scores[1] > scores[0] + 10


def test_the_same_twice_and_from_a_checkpoint(folder: Path) -> None:
    def go(name: str, **options: Any) -> bytes:
        path = folder / name
        exact = folder / "float.onnx"
        tune(folder / "small.onnx", path, IMAGES, steps=5, float_network=exact, **options)
        return path.read_bytes()

    first = go("a.onnx", work=folder / "run")
    assert go("b.onnx") == first
    assert go("c.onnx", work=folder / "run") == first
    assert go("d.onnx", seed=1) != first


def test_bad_input(folder: Path) -> None:
    common = (
        "tune",
        folder / "small.onnx",
        "-o",
        folder / "t.onnx",
        "--data",
        f"{folder}/data.npz:x",
    )
    teacher = ("--float-network", folder / "float.onnx")
    assert "one of --float-network and --labels, got neither" in fails(*common)
    assert "got both" in fails(*common, "--labels", f"{folder}/data.npz:y", *teacher)
    assert "steps out of range" in fails(*common, *teacher, "--steps", 0)
    assert "batch size out of range" in fails(*common, *teacher, "--batch-size", 0)
    assert "nothing coded to train" in fails(
        *("tune", folder / "float.onnx", "-o", folder / "t.onnx", *teacher),
        *("--data", f"{folder}/data.npz:x"),
    )
    same = ("tune", folder / "small.onnx", "-o", folder / "small.onnx")
    assert "overwrite the input" in fails(*same, "--data", folder / "data.npz", *teacher)
    assert not (folder / "t.onnx").exists()


def test_bad_labels_and_too_few_samples(folder: Path) -> None:
    small, out = folder / "small.onnx", folder / "t.onnx"
    with pytest.raises(CalibrationError, match="label out of range: expected 0 to 3, got 10"):
        tune(small, out, IMAGES, steps=1, labels=LABELS + 9 * (LABELS > 0))
    with pytest.raises(CalibrationError, match="differ in number: expected 400, got 5"):
        tune(small, out, IMAGES, steps=1, labels=LABELS[:5])
    with pytest.raises(CalibrationError, match="at least 2 samples, got 1"):
        tune(small, out, IMAGES[:1], steps=1, labels=LABELS[:1])
    with pytest.raises(OptionError, match="one of loss and float_network, got neither"):
        tune(small, out, IMAGES, steps=1)
    with pytest.raises(OptionError, match="`seed` out of range"):
        tune(small, out, IMAGES, steps=1, labels=LABELS, seed=-1)
    assert not out.exists()
