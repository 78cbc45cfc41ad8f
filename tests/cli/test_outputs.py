"""Outputs that would take the place of an input are refused by every command, before it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from subbyte.cli.app import app
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with its weights beside it, the same in one file, samples, a plan."""
    path = tmp_path_factory.mktemp("outputs")
    model = tiny.classifier()
    tiny.save(model, path / "net.onnx")
    onnx.save(
        *(onnx.load(path / "net.onnx"), path / "parted.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    np.savez(path / "data.npz", x=tiny.images(), y=np.arange(24) % tiny.CLASSES)
    (path / "plan.toml").write_text("")
    (path / "times.json").write_text("{}")
    return path


CALIB = ("--calib", "data.npz:x", "--layout", "nhwc")
DATA = ("--data", "data.npz:x")
LABELS = ("--labels", "data.npz:y")
COMMANDS = {
    "compress, network": ("compress", "net.onnx", "-o", "net.onnx", *CALIB),
    "compress, weights": ("compress", "parted.onnx", "-o", "weights.bin", *CALIB),
    "compress, samples": ("compress", "net.onnx", "-o", "data.npz", *CALIB),
    "compress, plan": ("compress", "net.onnx", "-o", "plan.toml", *CALIB, "--plan", "plan.toml"),
    "compress, value": (
        *("compress", "net.onnx", "-o", "a", "--json", "data.npz", *CALIB),
        *("--set-input", "x=data.npz:x"),
    ),
    "compress, json": ("compress", "net.onnx", "-o", "a", "--json", "net.onnx", *CALIB),
    "compress, both": ("compress", "net.onnx", "-o", "a", "--json", "./a", *CALIB),
    "plan, samples": ("plan", "net.onnx", "-o", "data.npz", *CALIB, "--bits", "2"),
    "plan, times": (
        *("plan", "net.onnx", "-o", "times.json", *CALIB),
        *("--latency", "3ms", "--timings", "times.json"),
    ),
    "tune, float network": (
        *("tune", "net.onnx", "-o", "parted.onnx"),
        *(*DATA, "--float-network", "parted.onnx"),
    ),
    "tune, samples": ("tune", "net.onnx", "-o", "a", "--json", "data.npz", *DATA, *LABELS),
    "tune, labels": ("tune", "net.onnx", "-o", "data.npz", *DATA, *LABELS),
    "inline, network": ("inline", "net.onnx", "-o", "net.onnx"),
    "inspect, network": ("inspect", "net.onnx", "--json", "net.onnx"),
    "eval, samples": ("eval", "net.onnx", *DATA, *LABELS, "--json", "data.npz"),
    "eval, float network": (
        "eval",
        "a",
        *DATA,
        "--float-network",
        "net.onnx",
        "--json",
        "net.onnx",
    ),
    "bench, network": ("bench", "parted.onnx", "net.onnx", "--json", "net.onnx"),
    "bench, weights": ("bench", "parted.onnx", "--json", "weights.bin"),
    "report, reference": ("report", "a", "--float-network", "net.onnx", "-o", "net.onnx"),
    "report, samples": ("report", "a", "--float-network", "net.onnx", "-o", "data.npz", *DATA[:2]),
}


@pytest.mark.parametrize("case", list(COMMANDS))
def test_inputs_stay(folder: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = CliRunner().invoke(app, list(COMMANDS[case]))
    assert result.exit_code == 2, result.output
    expected = "two outputs are one file" if case.endswith(("both", "checkpoint")) else "overwrite"
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
