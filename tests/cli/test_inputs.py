"""Inputs that are no samples, through the commands: a rate, a gain, a state."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from subbyte.cli.app import app
from subbyte.runtime import load
from subbyte.runtime.metadata import recorded_preprocessing

SET = ("--set-input", "rate=16000", "--set-input", "gain=0.5", "--set-input", "state=0.25")
COUNT = 24


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def voice() -> onnx.ModelProto:
    """y = V (relu(W x) rate / 8000 gain + sum of state), 32 -> 16 -> 5."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(16, 32)) / 5,
        "v": rng.normal(size=(5, 16)) / 4,
        "k": np.array(8000.0),
    }
    constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    constants.append(numpy_helper.from_array(np.array([0]), "axes"))
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "first", transB=1),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Cast", ["rate"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "k"], ["ratio"]),
        helper.make_node("Mul", ["r", "ratio"], ["m"]),
        helper.make_node("Mul", ["m", "gain"], ["g"]),
        helper.make_node("ReduceSum", ["state", "axes"], ["s"], keepdims=0),
        helper.make_node("Add", ["g", "s"], ["t"]),
        helper.make_node("Gemm", ["t", "v"], ["y"], "last", transB=1),
    ]
    kinds = {"x": ["N", 32], "state": [2, "N", 16], "rate": [], "gain": [1]}
    types = {"rate": TensorProto.INT64}
    inputs = [
        helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), s)
        for n, s in kinds.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    graph = helper.make_graph(nodes, "voice", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with four inputs, and samples of one and of all of them."""
    path = tmp_path_factory.mktemp("inputs")
    onnx.save(voice(), path / "net.onnx")
    rng = np.random.default_rng(1)
    x, state = rng.normal(size=(COUNT, 32)), np.full((2, 1, 16), 0.25)
    np.savez(path / "x.npz", x=x, labels=np.arange(COUNT) % 5)
    np.savez(path / "all.npz", x=x, state=state, rate=16000, gain=0.5)
    return path


def test_values_in_the_file_and_set_are_the_same(folder: Path) -> None:
    common = ("compress", folder / "net.onnx", "--method", "scalar")
    run(*common, "-o", folder / "a.onnx", "--calib", folder / "all.npz")
    said = run(*common, "-o", folder / "b.onnx", "--calib", f"{folder / 'x.npz'}:x", *SET)
    assert "--set-input rate=16000" in said
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()
    assert load(folder / "a.onnx").input_names == ["x", "state", "rate", "gain"]


def test_the_next_command_is_one_that_takes_the_network(folder: Path) -> None:
    """`subbyte eval` needs one output of class scores."""
    model = voice()
    model.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["N", 16]))
    onnx.save(model, folder / "two.onnx")
    said = run(
        *("compress", folder / "two.onnx", "-o", folder / "two_c.onnx", "--method", "scalar"),
        *("--calib", folder / "all.npz", "--input-scale", "1.00000001"),
    )
    assert "subbyte report" in said
    assert "--input-scale" not in said
    recorded = recorded_preprocessing(folder / "two_c.onnx")
    assert recorded is not None
    assert recorded.scale == 1.00000001
    assert "subbyte eval" not in said


@pytest.fixture(scope="module")
def folded(folder: Path) -> Path:
    """The network compressed, its three other inputs folded."""
    path = folder / "folded.onnx"
    calib = ("--calib", f"{folder / 'x.npz'}:x", *SET, "--fold-inputs")
    run("compress", folder / "net.onnx", "-o", path, *calib, "--method", "scalar")
    return path


def test_folded_inputs_are_gone_and_their_values_stay(folder: Path, folded: Path) -> None:
    small, whole = load(folded), load(folder / "net.onnx")
    assert small.input_names == ["x"]
    x = np.load(folder / "x.npz")["x"].astype(np.float32)
    state = np.full((2, COUNT, 16), 0.25, np.float32)
    wanted = np.asarray(whole.run({"x": x, "state": state, "rate": 16000, "gain": [0.5]}))
    got = np.asarray(small.run(x))
    assert np.square(got - wanted).mean() < 1e-3 * wanted.var()


def test_eval_gives_the_reference_what_the_file_has_inside(folder: Path, folded: Path) -> None:
    data = ("--data", f"{folder}/x.npz:x")
    result = folder / "eval.json"
    run("eval", folded, "--float-network", folder / "net.onnx", *data, *SET, "--json", result)
    assert json.loads(result.read_text())["kl"] < 1e-3
    failed = CliRunner().invoke(
        app, [str(a) for a in ("eval", folded, "--float-network", folder / "net.onnx", *data)]
    )
    assert failed.exit_code == 2
    assert "state, rate, gain" in failed.stderr


def test_report_of_a_folded_network(folder: Path, folded: Path) -> None:
    page = folder / "report.json"
    data = ("--data", f"{folder}/x.npz:x", "--labels", f"{folder}/x.npz:labels")
    common = ("report", folded, "--float-network", folder / "net.onnx", "--format", "json")
    run(*common, *data, *SET, "--runs", 2, "-o", page)
    found = json.loads(page.read_text())
    assert found["sensitivity"]["file"] < 1e-3
    assert len(found["latency"]) >= 2
    run(*common, *SET, "--runs", 0, "-o", page)
    failed = CliRunner().invoke(app, [str(a) for a in (*common, "-o", page)])
    assert "as in --set-input state=1" in failed.stderr


def test_plan_tune_and_bench_take_them_too(folder: Path) -> None:
    calib = ("--calib", f"{folder / 'x.npz'}:x", *SET)
    run("plan", folder / "net.onnx", "-o", folder / "plan.toml", *calib, "--bits", 4)
    small = folder / "c.onnx"
    run("compress", folder / "net.onnx", "-o", small, *calib, "--plan", folder / "plan.toml")
    run("bench", folder / "net.onnx", small, *SET, "--runs", 2)
    data = ("--data", f"{folder}/x.npz:x", "--float-network", folder / "net.onnx")
    run("tune", small, "-o", folder / "d.onnx", *data, *SET, "--steps", 2, "--batch-size", 8)


def test_tune_gives_the_teacher_what_the_file_has_inside(folder: Path, folded: Path) -> None:
    data = ("--data", f"{folder}/x.npz:x", "--float-network", folder / "net.onnx")
    common = ("tune", folded, "-o", folder / "tuned.onnx", *data, "--steps", 2, "--batch-size", 8)
    run(*common, *SET)
    failed = CliRunner().invoke(app, [str(argument) for argument in common])
    assert failed.exit_code == 2
    assert "state, rate, gain" in failed.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected x, state, rate, gain, got x"),
        (("--set-input", "speed=1"), "no such input"),
        ((*SET, "--batch-axis", "x=2"), "no such axis"),
        ((*SET, "--batch-axis", "x"), "expected NAME=0"),
        (("--fold-inputs",), "no input to fold"),
        ((*SET, "--set-input", "rate=8000"), "'rate' is given twice"),
        ((*SET, "--batch-axis", "x=0", "--batch-axis", "x=1"), "'x' is given twice"),
        (("--set-input", "rate=" + "," * 300), "cannot be read"),
    ],
)
def test_what_does_not_fit_is_one_line(
    folder: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "out.onnx"
    calib = ("--calib", f"{folder / 'x.npz'}:x", *options)
    arguments = ("compress", folder / "net.onnx", "-o", out, *calib)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()


def test_explore_takes_inputs_that_are_no_samples(folder: Path, tmp_path: Path) -> None:
    """Set for good, or given with the batch where the network has it."""
    common = ("explore", folder / "net.onnx", "--bits", "4,8", "--no-latency")
    run(
        *(*common, "-o", tmp_path / "folded", "--calib", f"{folder / 'x.npz'}:x"),
        *(*SET, "--fold-inputs"),
    )
    rng = np.random.default_rng(1)
    states = rng.normal(size=(2, COUNT, 16)).astype(np.float32)
    np.savez(tmp_path / "states.npz", x=rng.normal(size=(COUNT, 32)), state=states)
    run(
        *(*common, "-o", tmp_path / "states", "--calib", tmp_path / "states.npz"),
        *("--set-input", "rate=16000", "--set-input", "gain=0.5", "--batch-axis", "state=1"),
    )
    names = {}
    for where in ("folded", "states"):
        points = [
            json.loads(x) for x in (tmp_path / where / "points.jsonl").read_text().splitlines()
        ]
        assert len(points) == 2
        files = [tmp_path / where / point["file"] for point in points]
        names[where] = {tuple(load(file).input_names) for file in files}
    assert names == {"folded": {("x",)}, "states": {("x", "state", "rate", "gain")}}
