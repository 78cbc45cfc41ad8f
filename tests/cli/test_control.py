"""Networks with control flow, recurrence and foreign operators, through the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.graph.compressed.inline import inline
from subbyte.report import inspect
from tests.cli.invoked import run
from tests.graph import control_flow as control
from tests.graph.foreign import DISTANCE, between, normal, one_layer_behind
from tests.graph.one_node import run_ort

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


RATES = ("then", "else")


def by_rate() -> onnx.ModelProto:
    """A branch for each of two sampling rates, an input without a batch."""
    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", f"w_{name}"], [name], f"{name}_product")],
            name,
            [],
            [value(name, TensorProto.FLOAT, None)],
        )
        for name in RATES
    }
    nodes = [
        helper.make_node("Equal", ["rate", "sixteen"], ["is_sixteen"], "compare"),
        helper.make_node("If", ["is_sixteen"], ["y"], "choice", **branches),
    ]
    constants = {
        f"w_{name}": rng.standard_normal((8, 160)).astype("f") for name in ("then", "else")
    }
    constants["sixteen"] = np.array(16000)
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["N", 8]), value("rate", TensorProto.INT64, [])],
        [value("y", TensorProto.FLOAT, ["N", 160])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_weights_that_no_sample_tells_of_are_named_with_a_way_out(tmp_path: Path) -> None:
    set_input = ("--set-input", "rate=16000")
    _, said = compressed(by_rate(), tmp_path, *set_input)
    assert "note: 2 weights in the branches of choice were coded without samples" in said
    assert "depends on rate: where that is the same for every sample" in said
    assert "--set-input rate=VALUE --fold-inputs takes one branch" in said
    small, said = compressed(by_rate(), tmp_path, *set_input, "--fold-inputs")
    assert "without samples" not in said
    assert [row["name"] for row in inspect(small).layers] == ["then_product"]


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
