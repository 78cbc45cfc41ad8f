"""``compress``, and what ``inspect``, ``inline`` and ``eval`` make of its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import subbyte
from subbyte.cli.app import app
from tests import tiny
from tests.compression.nets import ROUGH_PLAN, classifier, smooth_images

STEPS = ("--input-scale", 255, "--mean", "0.5,0.5,0.5", "--std", "0.25", "--layout", "nhwc")


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, samples, and the network compressed by the command."""
    path = tmp_path_factory.mktemp("compress")
    tiny.save(tiny.classifier(), path / "net.onnx")
    np.savez(path / "data.npz", x=tiny.images(), y=np.arange(24) % tiny.CLASSES)
    calib = ("--calib", f"{path / 'data.npz'}:x", *STEPS)
    out = run(
        *("compress", path / "net.onnx", "-o", path / "small.onnx", *calib, "--bits", 4),
        *("--json", path / "compress.json"),
    )
    (path / "stdout.txt").write_text(out.stdout)
    return path


def read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_result_is_small_and_runs(folder: Path) -> None:
    result = read(folder / "compress.json")
    assert result["bits_per_weight"] <= 4
    assert result["input_bytes"] == (folder / "net.onnx").stat().st_size
    assert result["file_bytes"] == (folder / "small.onnx").stat().st_size
    assert result["samples"] == 24
    model = subbyte.load(folder / "small.onnx")
    assert np.asarray(model.run(np.zeros((5, 3, 6, 6), np.float32))).shape == (5, tiny.CLASSES)


def test_summary_tells_what_happened_and_what_to_do_next(folder: Path) -> None:
    text = (folder / "stdout.txt").read_text()
    assert "times smaller" in text
    assert "bits per weight" in text
    assert "subbyte eval" in text
    assert "divergence from the float network, on 2 samples held back, not used to make it" in text
    assert "% same class" in text


def test_proof(folder: Path) -> None:
    proof = read(folder / "compress.json")["proof"]
    assert (proof["samples"], proof["held_back"], proof["warnings"]) == (2, True, [])
    assert [row["name"] for row in proof["outputs"]] == ["logits"]
    assert {"portable", "native"} <= set(proof["outputs"][0])


def test_calibration_samples_beside_others(folder: Path) -> None:
    found = read(folder / "compress.json")["generalization"]
    assert found["samples"] == {"calibration": 22, "held_back": 2}
    assert [row["name"] for row in found["layers"]] == ["conv1", "conv2", "head"]
    assert found["with_twice_the_samples"] <= found["network"]["held_back"]
    text = (folder / "stdout.txt").read_text()
    assert f"with twice the samples about {found['with_twice_the_samples']:.2g}" in text


def test_a_network_that_is_far_from_float_is_warned_of(tmp_path: Path) -> None:
    images = smooth_images(40, size=tiny.SIZE)
    tiny.save(classifier(images), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=images)
    (tmp_path / "plan.toml").write_text(ROUGH_PLAN)
    command = ("compress", tmp_path / "net.onnx", "-o", tmp_path / "a.onnx")
    calib = ("--calib", f"{tmp_path / 'data.npz'}:x", "--plan", tmp_path / "plan.toml")
    said = run(*command, *calib, "--json", tmp_path / "a.json")
    (warning,) = read(tmp_path / "a.json")["proof"]["warnings"]
    assert f"warning: {warning}" in said.stderr
    assert "try more bits, more samples, --tune" in warning


def test_nothing_else_is_left(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if "small" in path.name} <= {
        "small.onnx",
        "small-inline.onnx",
    }


def test_inspect(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "inspect.json"
    text = run("inspect", folder / "small.onnx", "--json", target).stdout
    result = read(target)
    assert {"file_bytes", "weight_count", "bits_per_weight", "layers"} <= set(result)
    assert [row["name"] for row in result["layers"]] == ["conv1", "conv2", "head"]
    for row in result["layers"]:
        assert {"name", "op", "method", "shape", "bits_per_weight", "bytes"} <= set(row)
        assert row["name"] in text
    stored = sum(row["bytes"] for row in result["layers"])
    assert result["bits_per_weight"] == pytest.approx(8 * stored / result["weight_count"])
    assert sum(result["parts"].values()) == result["file_bytes"]


def test_inline(folder: Path, tmp_path: Path) -> None:
    inlined = folder / "small-inline.onnx"
    target = tmp_path / "inline.json"
    run("inline", folder / "small.onnx", "-o", inlined, "--json", target)
    assert read(target)["file_bytes"] == inlined.stat().st_size
    batch = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(
        subbyte.load(inlined).run(batch),
        subbyte.load(folder / "small.onnx", engine="portable").run(batch),
        atol=1e-5,
    )


def test_eval_against_the_float_network(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "eval.json"
    data = ("--data", f"{folder}/data.npz:x", *STEPS)
    reference = ("--float-network", folder / "net.onnx")
    run("eval", folder / "small.onnx", *data, *reference, "--json", target)
    result = read(target)
    assert result["n"] == 24
    assert 0 < result["kl"] < 0.5


def test_python_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    steps = subbyte.Preprocessing(255, (0.5, 0.5, 0.5), (0.25,), "nhwc")
    subbyte.compress(
        folder / "net.onnx",
        tmp_path / "small.onnx",
        calib=tiny.images(),
        preprocessing=steps,
        bits=4.0,
    )
    assert (tmp_path / "small.onnx").read_bytes() == (folder / "small.onnx").read_bytes()


def test_samples_beyond_what_there_is(folder: Path, tmp_path: Path) -> None:
    calib = ("--calib", f"{folder / 'data.npz'}:x", *STEPS)
    target = tmp_path / "out.json"
    command = ("compress", folder / "net.onnx", "-o", tmp_path / "a.onnx", *calib, "--bits", 4)
    more = run(*command, "--samples", 100, "--json", target)
    assert "data.npz:x has 24: using all" in more.stderr
    assert read(target)["samples"] == 24
    fewer = run(*command, "--samples", 10, "--json", target)
    assert "note" not in fewer.stderr
    assert read(target)["samples"] == 10


def test_inline_option(folder: Path, tmp_path: Path) -> None:
    calib = ("--calib", f"{folder / 'data.npz'}:x", *STEPS)
    target = tmp_path / "inline.onnx"
    run("compress", folder / "net.onnx", "-o", target, *calib, "--bits", 4, "--inline")
    inlined = tmp_path / "by-command.onnx"
    run("inline", folder / "small.onnx", "-o", inlined)
    assert target.read_bytes() == inlined.read_bytes()


def test_the_default_budget_is_said(folder: Path, tmp_path: Path) -> None:
    command = ("compress", folder / "net.onnx", "-o", tmp_path / "a.onnx")
    command += ("--calib", f"{folder / 'data.npz'}:x", *STEPS)
    said = run(*command)
    assert "note: no budget was given: at most 2 bits per weight" in said.stderr
    default = (tmp_path / "a.onnx").read_bytes()
    assert "no budget" not in run(*command, "--bits", 2).stderr
    assert (tmp_path / "a.onnx").read_bytes() == default


def test_a_network_whose_scales_alone_exceed_the_default(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    node = tiny.helper.make_node("MatMul", ["x", "w"], ["y"], "only")
    model = tiny.build([node], {"w": weight}, {"x": ["N", 2]}, {"y": ["N", 3]})
    tiny.save(model, tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=np.ones((20, 2), np.float32) * np.arange(20)[:, None])
    command = ("compress", tmp_path / "net.onnx", "-o", tmp_path / "a.onnx")
    run(*command, "--calib", f"{tmp_path / 'data.npz'}:x")
    assert subbyte.inspect(tmp_path / "a.onnx").bits_per_weight > 8


def test_network_with_two_inputs(tmp_path: Path) -> None:
    helper = tiny.helper
    nodes = [
        helper.make_node("MatMul", ["a", "v"], ["p"], "left"),
        helper.make_node("MatMul", ["b", "w"], ["q"], "right"),
        helper.make_node("Add", ["p", "q"], ["y"], "add"),
    ]
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal((16, 32)).astype(np.float32) for n in "vw"}
    model = tiny.build(nodes, weights, {"a": ["N", 16], "b": ["N", 16]}, {"y": ["N", 32]})
    tiny.save(model, tmp_path / "net.onnx")
    samples = {name: rng.standard_normal((40, 16)).astype(np.float32) for name in "ab"}
    np.savez(tmp_path / "data.npz", **samples)
    target = tmp_path / "small.onnx"
    command = ("compress", tmp_path / "net.onnx", "-o", target, "--calib", tmp_path / "data.npz")
    said = run(*command, "--bits", 2, code=2)
    assert "expected at least 3.063 bits per weight, got 2" in said.stderr
    said = run(*command)
    assert "at most 2 bits per weight, or the fewest that the network allows" in said.stderr
    assert subbyte.inspect(target).bits_per_weight == pytest.approx(3.063, abs=1e-3)
    run(*command, "--method", "product")
    expected = samples["a"] @ weights["v"] + samples["b"] @ weights["w"]
    error = np.asarray(subbyte.load(target).run(samples)) - expected
    assert (error**2).mean() < 0.3 * (expected**2).mean()
