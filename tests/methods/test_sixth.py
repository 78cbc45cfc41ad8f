"""A sixth method, of one folder and one row, goes everywhere the five go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import Result
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.methods import METHODS, MethodChoice
from subbyte.methods.options import MethodOptions
from tests import tiny
from tests.compression.nets import relative, smooth_images
from tests.methods import coarse
from tests.methods.coarse.form import CoarseOptions

IMAGES = smooth_images(48, channels=3, size=6)


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "coarse", coarse.METHOD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tiny.classifier(tiny.conv_weights(width=32)), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=IMAGES)
    return tmp_path


def run(*arguments: object) -> Result:
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == 0, found.output
    return found


def calib(folder: Path) -> tuple[object, ...]:
    return (folder / "net.onnx", "--calib", f"{folder / 'data.npz'}:x", "--method", "coarse")


def test_compress_inspect_and_load(folder: Path) -> None:
    run("compress", *calib(folder), "-o", folder / "a.onnx", "--set", "levels=7")
    rows = {row["name"]: row for row in subbyte.inspect(folder / "a.onnx").layers}
    assert [row["method"] for row in rows.values()] == ["scalar", "coarse", "scalar"]
    assert 4 < rows["conv2"]["bits_per_weight"] < 4.2
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    (wanted,) = session.run(None, {session.get_inputs()[0].name: IMAGES})
    for engine in ("portable", "native"):
        found = subbyte.load(folder / "a.onnx", engine=engine).run(IMAGES)
        assert relative(found, wanted) < 0.1


def test_plan_and_what_a_plan_says(folder: Path) -> None:
    """Bits are spread over the method's candidates; an edited plan is obeyed."""
    plan, target = folder / "plan.toml", folder / "b.onnx"
    document = folder / "plan.json"
    run("plan", *calib(folder), "--bits", 4, "-o", plan, "--json", document)
    forms = [row["format"] for row in json.loads(document.read_text())["layers"]]
    assert "coarse, levels 3" in forms
    text = plan.read_text()
    assert 'method = "coarse"\nlevels = 3\n' in text
    plan.write_text(text.replace("levels = 3", "levels = 1"))
    source, *rest = calib(folder)[:3]
    run("compress", source, *rest, "-o", target, "--plan", plan)
    rows = {row["name"]: row for row in subbyte.inspect(target).layers}
    assert 2 < rows["conv2"]["bits_per_weight"] < 2.2
    plan.write_text(text.replace("levels = 3", "levels = 2"))
    command = ["compress", source, *rest, "-o", target, "--plan", plan]
    wrong = CliRunner().invoke(app, [str(argument) for argument in command])
    assert wrong.exit_code == 2
    assert "coarse: levels out of range" in wrong.stderr
    assert "expected 1, 3 or 7, got 2" in wrong.stderr


def test_report_and_methods(folder: Path) -> None:
    run("compress", *calib(folder), "-o", folder / "a.onnx", "--tune", 4)
    page = folder / "report.html"
    source = folder / "net.onnx"
    data = ("--data", f"{folder / 'data.npz'}:x", "--runs", 1)
    run("report", folder / "a.onnx", "--float-network", source, *data, "-o", page)
    assert "coarse" in page.read_text()
    listed = run("methods").stdout
    assert "levels on each side of zero (1, 3 or 7; in a plan 3)" in listed


def test_explore(folder: Path) -> None:
    run("explore", *calib(folder), "-o", folder / "points", "--bits", "2.6,3.4", "--no-latency")
    points = [
        json.loads(line) for line in (folder / "points/points.jsonl").read_text().splitlines()
    ]
    assert [point["options"]["methods"] for point in points] == [["coarse"]] * 2


def test_python_takes_the_method_by_name_or_with_options(folder: Path) -> None:
    images: dict[str, MethodOptions] = {}
    for method in ("coarse", MethodChoice("coarse", {"levels": 7})):
        done = subbyte.compress(folder / "net.onnx", folder / "c.onnx", IMAGES, method=method)
        images |= {str(method): next(o for o in done.plan.values() if o.method == "coarse")}
    assert list(images.values()) == [CoarseOptions(3), CoarseOptions(7)]
