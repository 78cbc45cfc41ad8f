"""``plan``, ``explore`` and ``calibrate-cpu``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from subbyte.cli.app import app
from subbyte.runtime import timings
from subbyte.runtime.timings import Timings
from tests import tiny

STEPS = ("--input-scale", 255, "--mean", "0.5,0.5,0.5", "--std", "0.25", "--layout", "nhwc")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments: object) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and samples."""
    path = tmp_path_factory.mktemp("plan")
    tiny.save(tiny.classifier(), path / "net.onnx")
    np.savez(path / "data.npz", x=tiny.images())
    return path


def calib(folder: Path) -> tuple[object, ...]:
    return ("--calib", f"{folder / 'data.npz'}:x", *STEPS)


def test_a_plan_is_written_shown_and_obeyed(folder: Path, tmp_path: Path) -> None:
    plan, document = tmp_path / "plan.toml", tmp_path / "plan.json"
    wishes = ("--bits", 3, "--method", "product,scalar")
    text = run(
        *("plan", folder / "net.onnx", "-o", plan, *calib(folder), *wishes, "--json", document)
    ).stdout
    result = json.loads(document.read_text())
    assert [row["name"] for row in result["layers"]] == ["conv1", "conv2", "head"]
    assert sum(row["share"] for row in result["layers"]) == pytest.approx(1)
    assert all(row["name"] in text and row["format"] in text for row in result["layers"])
    assert "at most 3 bits per weight" in text
    assert "above the least that any plan within the budget could have" in text
    for row in result["layers"]:
        note = f"{row['bits_per_weight']:.2f} bits a weight, {row['bytes']} bytes, harm "
        assert f'[layers."{row["name"]}"]  # {note}' in plan.read_text()
    for name, options in (("planned", ("--plan", plan)), ("budget", wishes)):
        target = tmp_path / f"{name}.onnx"
        run("compress", folder / "net.onnx", "-o", target, *calib(folder), *options)
    assert (tmp_path / "planned.onnx").read_bytes() == (tmp_path / "budget.onnx").read_bytes()


def test_a_size_in_units(folder: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    text = run("plan", folder / "net.onnx", "-o", plan, *calib(folder), "--size", "8.5kB").stdout
    assert "a file of at most 8500 bytes" in text
    assert "bytes of the file are not weights" in text


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (("--bits", 2, "--size", "2MB"), "--bits and --size exclude each other"),
        (("--size", "2 parsecs"), "cannot read --size"),
        (("--max-drop", "150"), "--max-drop out of range"),
        (("--bits", 2, "--method", "product,spline"), "unknown method"),
        (("--bits", 2, "--method", ","), "no method is named"),
        (("--bits", 0.3), "--bits out of reach"),
        (("--latency", "1ms", "--timings", "none.json"), "subbyte calibrate-cpu"),
    ],
)
def test_what_cannot_be_planned(
    folder: Path, tmp_path: Path, wishes: tuple[object, ...], message: str
) -> None:
    plan = tmp_path / "plan.toml"
    result = invoke("plan", folder / "net.onnx", "-o", plan, *calib(folder), *wishes)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not plan.exists()


@pytest.mark.parametrize("options", [(), ("--method", "product"), ("--method", "scalar,ternary")])
def test_without_a_budget_it_is_two_bits(
    folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    command = ("plan", folder / "net.onnx", *calib(folder), *options)
    run(*command, "-o", tmp_path / "a.toml")
    run(*command, "-o", tmp_path / "b.toml", "--bits", 2)
    assert (tmp_path / "a.toml").read_text() == (tmp_path / "b.toml").read_text()
    assert "# budget: at most 2 bits per weight" in (tmp_path / "a.toml").read_text()


def test_explore(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "points"
    options = ("--bits", "3,5", "--no-latency")
    text = run("explore", folder / "net.onnx", "-o", out, *calib(folder), *options).stdout
    points = [json.loads(line) for line in (out / "points.jsonl").read_text().splitlines()]
    assert [point["name"] for point in points] == ["bits-3.000", "bits-5.000"]
    assert all(point["name"] in text and f"{point['kl']:.4f}" in text for point in points)
    assert "latency" not in text


def test_calibrate_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = timings.format_names()
    prices = dict.fromkeys(names, (1e-9,) * 5) | {timings.DEPTHWISE: (1e-9,) * 4}
    table = Timings("Some CPU", "avx2", "0", prices, dict.fromkeys(prices, (0.05, 0.4)))
    monkeypatch.setattr(timings, "calibrate", lambda progress: table)
    monkeypatch.setenv(timings.CACHE_VARIABLE, str(tmp_path / "cache"))
    text = run("calibrate-cpu").stdout
    assert "Some CPU, avx2" in text
    assert "look-up 4 gain" in text
    assert str(timings.cache_path()) in text
    assert json.loads(timings.cache_path().read_text())["cpu"] == "Some CPU"
    run("calibrate-cpu", "-o", tmp_path / "own.json")
    assert (tmp_path / "own.json").read_text() == timings.cache_path().read_text()


def test_a_cache_that_cannot_be_is_known_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(timings, "calibrate", None)
    (tmp_path / "file").touch()
    monkeypatch.setenv(timings.CACHE_VARIABLE, str(tmp_path / "file"))
    result = invoke("calibrate-cpu")
    assert result.exit_code == 2
    assert "cannot make the folder of kernel timings" in result.stderr
    assert "File exists" in result.stderr
