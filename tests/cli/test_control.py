"""Networks with control flow, recurrence and foreign operators, through the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import subbyte
from subbyte.graph.compressed.inline import inline
from tests.cli.test_commands import run
from tests.graph.module.test_foreign import DISTANCE, between, normal, one_layer_behind
from tests.graph.one_node import run_ort
from tests.graph.passes.lowering import test_control_flow as control

NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    "if": lambda: control.both_sides(control.ON_DATA),
    "loop": lambda: control.loop("v1"),
    "foreign": lambda: between([DISTANCE], {"other": normal(8, 8)}),
}
X = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)


def compressed(model: onnx.ModelProto, folder: Path, *options: object) -> tuple[Path, str]:
    """The file that the command wrote, and what it said."""
    source, data, small = folder / "net.onnx", folder / "x.npy", folder / "small.onnx"
    onnx.save(model, source)
    np.save(data, X)
    result = run("compress", source, "-o", small, "--calib", data, "--bits", 8, *options)
    assert result.exit_code == 0, result.output
    return small, result.output


@pytest.mark.parametrize("name", list(NETS))
def test_both_engines_and_the_inlined_file(name: str, tmp_path: Path) -> None:
    model = NETS[name]()
    small, _ = compressed(model, tmp_path)
    (expected,) = run_ort(model, [X])
    for engine in ("portable", "native"):
        (y,) = subbyte.load(small, engine=engine).session.run(None, {"x": X})
        assert ((y - expected) ** 2).mean() < 2e-3 * expected.var()
    (inlined,) = run_ort(inline(onnx.load(small)), [X])
    np.testing.assert_allclose(inlined, y, rtol=0, atol=0.02 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", ["if", "loop"])
def test_commands_that_read_the_file(name: str, tmp_path: Path) -> None:
    small, _ = compressed(NETS[name](), tmp_path)
    source, data = tmp_path / "net.onnx", tmp_path / "x.npy"
    assert run("inspect", small).exit_code == 0
    assert run("eval", small, "--float-network", source, "--data", data).exit_code == 0
    tuned = tmp_path / "tuned.onnx"
    done = run("tune", small, "-o", tuned, "--float-network", source, "--data", data, "--steps", 2)
    assert done.exit_code == 0, done.output
    names = {tensor.name for tensor in onnx.load(tuned).graph.initializer}
    assert names == {tensor.name for tensor in onnx.load(small).graph.initializer}


def test_tuning_says_what_it_could_not_reach(tmp_path: Path) -> None:
    _, said = compressed(NETS["if"](), tmp_path, "--tune", 2)
    assert "note: not tuned: first: no gradient flows through If (node choice)" in said


def test_tuning_that_reaches_nothing_is_refused(tmp_path: Path) -> None:
    source, data = tmp_path / "net.onnx", tmp_path / "x.npy"
    onnx.save(one_layer_behind(), source)
    np.save(data, X)
    options = ["--calib", data, "--bits", 8, "--tune", 2]
    result = run("compress", source, "-o", tmp_path / "small.onnx", *options)
    assert result.exit_code == 2
    assert "need a layer that a gradient reaches" in result.output
    assert "CDist (node y)" in result.output
    assert not (tmp_path / "small.onnx").exists()
