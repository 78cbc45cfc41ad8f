"""Names that no file can have, and pipes where a file is meant: one line, at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from subbyte.cli.app import app
from tests import tiny

LONG = "a" * 300
CALIB = ("--calib", "data.npz:x", "--layout", "nhwc")
COMMANDS = {
    "compress": ("compress", LONG, "-o", "a", *CALIB),
    "compress, output": ("compress", "net.onnx", "-o", LONG, *CALIB),
    "compress, samples": ("compress", "net.onnx", "-o", "a", "--calib", f"{LONG}.npz:x"),
    "compress, plan": ("compress", "net.onnx", "-o", "a", *CALIB, "--plan", LONG),
    "compress, pipe as plan": ("compress", "net.onnx", "-o", "a", *CALIB, "--plan", "pipe"),
    "compress, value": ("compress", "net.onnx", "-o", "a", *CALIB, "--set-input", f"x={LONG}"),
    "compress, json": ("compress", "net.onnx", "-o", "a", *CALIB, "--json", LONG),
    "plan, pipe as times": (
        *("plan", "net.onnx", "-o", "a", *CALIB, "--latency", "3ms", "--timings", "pipe"),
    ),
    "explore": ("explore", "net.onnx", "-o", LONG, *CALIB),
    "inline": ("inline", LONG, "-o", "a"),
    "inspect": ("inspect", LONG),
    "eval": ("eval", LONG, "--data", "data.npz:x", "--labels", "data.npz:y"),
    "eval, samples": ("eval", "net.onnx", "--data", f"{LONG}:x", "--labels", f"{LONG}:y"),
    "bench": ("bench", LONG),
    "report": ("report", LONG, "--float-network", "net.onnx", "-o", "a.html"),
    "report, points": (
        *("report", "net.onnx", "--float-network", "net.onnx", "-o", "a.html"),
        *("--points", LONG),
    ),
    "calibrate-cpu": ("calibrate-cpu", "-o", LONG),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paths")
    tiny.save(tiny.classifier(), path / "net.onnx")
    np.savez(path / "data.npz", x=tiny.images(), y=np.arange(24) % tiny.CLASSES)
    os.mkfifo(path / "pipe")
    return path


@pytest.mark.parametrize("case", COMMANDS)
def test_names_that_no_file_has(folder: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.chdir(folder)
    before = sorted(os.listdir(folder))
    result = CliRunner().invoke(app, list(COMMANDS[case]))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert sorted(os.listdir(folder)) == before
