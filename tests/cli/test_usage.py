"""Command lines as people write them by mistake: one line that says the way out."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.cli.invoked import fails, run

COMPRESS = "compress net.onnx -o small.onnx --calib data.npz:x --layout nhwc"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a network and samples, and what is there stays alone."""
    tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=tiny.images(), y=np.arange(24) % tiny.CLASSES)
    monkeypatch.chdir(tmp_path)


BAD_VALUES = {
    "--image-size 0x24": "cannot read --image-size: expected 224 or 480x640 (height x width), got",
    "--image-size 24x": "cannot read --image-size: expected 224 or 480x640",
    "--std 1,": "cannot read --std: expected numbers such as 0.485,0.456,0.406, got 1,",
    "--mean '0.5;0.5'": "cannot read --mean: expected numbers such as",
    "--mean nan": "mean out of range: expected finite numbers, got nan",
    "--layout NCWH": "cannot read --layout: expected nchw or nhwc, got NCWH",
    "--bits two": "cannot read --bits: expected a number, got two",
    "--bits=4,2": "cannot read --bits: expected a number, got 4,2",
    "--samples 1.5": "cannot read --samples: expected a whole number, got 1.5",
    "--tune 100steps": "cannot read --tune: expected a whole number, got 100steps",
    "--seed abc": "cannot read --seed: expected a whole number, got abc",
    "--size -2MB": "cannot read --size: expected a size such as 2MB, got -2MB",
    "--latency fast": "cannot read --latency: expected a time such as 3ms, got fast",
    "--max-drop lots": "cannot read --max-drop: expected percentage points such as 0.5",
    "--batch-axis input": "cannot read --batch-axis: expected NAME=0",
    "--preset resnet": "expected imagenet, minus-one-to-one or zero-to-one, got resnet",
    "--input-scale 1/255": "cannot read --input-scale: expected a number, got 1/255",
    "--crop 87%": "cannot read --crop: expected a number, got 87%",
    "--color red": "cannot read --color: expected rgb, bgr or gray, got red",
    "--resize 224": "cannot read --resize: expected crop, stretch or pad, got 224",
    "--activations int4": "cannot read --activations: expected int8 or float, got int4",
    "--device gpu": "expected cpu, cuda, cuda:1 ..., got gpu",
    "--inline=yes": "--inline takes no value: expected --inline alone, got yes",
    "--bits": "--bits needs a value: expected --bits B (at most B bits per weight",
    "-o": "-o needs a value: expected --output OUT.onnx (where to write the small one)",
    "--bit 2": "no such option [subbyte compress]: expected --bits, got --bit",
    "-bits 2": "no such option [subbyte compress]: expected --bits, got -bits",
    "--inptu-scale 9": "no such option [subbyte compress]: expected --input-scale, got",
    "--verbose": "expected one that `subbyte compress --help` lists, got --verbose",
    "more.onnx": "unexpected argument [subbyte compress]: expected IN.onnx and options, got",
}
"""Words behind `COMPRESS`, and a part of the error."""

BAD_LINES = {
    "compress": "IN.onnx is missing [subbyte compress]: expected IN.onnx (the trained network)",
    "compress net.onnx": "--output is missing [subbyte compress]: expected --output OUT.onnx (",
    "compress net.onnx -o a.onnx": "--calib is missing [subbyte compress]: expected --calib FOLD",
    "compres net.onnx": "no such command [subbyte]: expected compress, got compres",
    "frobnicate": "no such command [subbyte]: expected one that `subbyte --help` lists, got frobn",
    "--bits 2 compress net.onnx": "expected --bits behind the command, as in subbyte compress ...",
    "--verbose": "no such option [subbyte]: expected one that `subbyte --help` lists, got --verb",
    "bench net.onnx --shape 1x3x6x6": "cannot read --shape: expected NAME=1x3x224x224, got 1x3x6x6",
    "bench net.onnx --threads x": "cannot read --threads: expected a whole number, got x",
    "eval net.onnx --labels data.npz:y": "--data is missing [subbyte eval]: expected --data FOLD",
    "eval net.onnx --data data.npz:x --engine gpu": "expected portable or native, got gpu",
    "explore net.onnx -o e --calib data.npz:x --bits '2;3'": "expected numbers such as 2,2.5,3,",
    "report net.onnx --float-network net.onnx -o r --format pdf": "expected html, md or json, got",
    "methods x": "unexpected argument [subbyte methods]: expected options alone, got x",
    "inspect net.onnx net.onnx": "[subbyte inspect]: expected MODEL.onnx and options, got net.onnx",
}


@pytest.mark.parametrize("words", BAD_VALUES)
def test_bad_values(words: str, tmp_path: Path) -> None:
    assert BAD_VALUES[words] in fails(*shlex.split(f"{COMPRESS} {words}"))
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "data.npz"}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_lines(line: str, tmp_path: Path) -> None:
    assert BAD_LINES[line] in fails(*shlex.split(line))
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "data.npz"}


@pytest.mark.parametrize("words", [(), ("--help",), ("compress", "-h")])
def test_help_is_no_error(words: tuple[str, ...]) -> None:
    output = run(*words).output
    assert "Usage: subbyte" in output
    assert "error:" not in output
