"""Samples that a network cannot take, or is NaN for: one line that names sample, node and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.compression.calibration.culprit import culprit
from subbyte.data import as_samples
from subbyte.errors import CalibrationError, RunError
from subbyte.graph.load.model_file import input_specs
from subbyte.graph.load.network import prepare

COUNT, BAD = 12, 7
Case = tuple[onnx.ModelProto, np.ndarray, str]


def constant(name: str, *shape: int) -> onnx.TensorProto:
    # Equal weights would be one.
    rng = np.random.default_rng(list(name.encode()))
    array = rng.normal(size=shape) / np.sqrt(shape[-1])
    return numpy_helper.from_array(array.astype(np.float32), name)


def model(
    nodes: list[onnx.NodeProto], shape: list[Any], *tensors: onnx.TensorProto, kind: int = 1
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(tensors),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    name = f"{op} of {output}" if op in ("MatMul", "Conv") else f"the {op}"
    return helper.make_node(op, inputs.split(), [output], name, **attributes)


def good_part(data: np.ndarray) -> np.ndarray:
    """Samples without the bad one; of images an even part."""
    return data[:, :, :6, :8] if data.ndim == 4 else data[:BAD]


def ids() -> Case:
    """An index beyond the table."""
    nodes = [
        node("Gather", "table x", "e"),
        node("ReduceMean", "e", "m", axes=[1], keepdims=0),
        node("MatMul", "m w", "y"),
    ]
    data = np.random.default_rng(0).integers(0, 20, (COUNT, 4))
    data[BAD, 2] = 20
    network = model(nodes, ["N", 4], constant("table", 20, 32), constant("w", 32, 32), kind=7)
    return network, data, r"sample 7, node 'the Gather' \(Gather\)"


def root() -> Case:
    """The root of a negative number."""
    nodes = [
        node("MatMul", "x v", "a"),
        node("Sqrt", "x", "r"),
        node("Add", "a r", "s"),
        node("MatMul", "s w", "y"),
    ]
    data = np.abs(np.random.default_rng(0).normal(size=(COUNT, 32)))
    data[BAD, 3] = -1
    network = model(nodes, ["N", 32], constant("v", 32, 32), constant("w", 32, 32))
    return network, data, r"NaN inside.*sample 7, node 'the Sqrt' \(Sqrt\), value 'r' \[1, 32\]"


def masked() -> Case:
    """Attention over nothing: a softmax of minus infinities alone."""
    infinity = numpy_helper.from_array(np.array(-np.inf, np.float32), "infinity")
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    nodes = [
        node("Greater", "x zero", "seen"),
        node("Where", "seen x infinity", "scores"),
        node("Softmax", "scores", "p", axis=-1),
        node("MatMul", "p w", "y"),
    ]
    data = np.random.default_rng(0).normal(size=(COUNT, 32))
    data[BAD] = -1
    network = model(nodes, ["N", 32], infinity, zero, constant("w", 32, 32))
    return network, data, r"NaN inside.*sample 7, node 'the Softmax' \(Softmax\), value 'p'"


def overflow() -> Case:
    """An infinity that a layer reads."""
    nodes = [node("Exp", "x", "e"), node("MatMul", "e w", "y")]
    data = np.random.default_rng(0).normal(size=(COUNT, 32))
    data[BAD, 0] = 1000
    network = model(nodes, ["N", 32], constant("w", 32, 32))
    return network, data, r"Inf inside.*sample 7, node 'the Exp' \(Exp\), value 'e'"


def sizes() -> Case:
    """Odd sizes for a network that halves and doubles them."""
    nodes = [
        node("Conv", "x u", "a", pads=[1] * 4, strides=[2, 2]),
        node("ConvTranspose", "a v", "b", strides=[2, 2]),
        node("Add", "x b", "c"),
        node("Conv", "c w", "y"),
    ]
    tensors = (constant("u", 8, 4, 3, 3), constant("v", 8, 4, 2, 2), constant("w", 8, 4, 1, 1))
    data = np.random.default_rng(0).normal(size=(COUNT, 4, 7, 9))
    network = model(nodes, ["N", 4, "H", "W"], *tensors)
    return network, data, r"sample 0, node 'the Add' \(Add\).*x \[1, 4, 7, 9\], b \[1, 4, 8, 10\]"


CASES = [ids, root, masked, overflow, sizes]


@pytest.fixture(params=CASES, ids=[case.__name__ for case in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param()
    return found


def test_compress_names_the_sample(case: Case, tmp_path: Path) -> None:
    network, data, message = case
    with pytest.raises(RunError, match=message) as caught:
        subbyte.compress(network, tmp_path / "out.onnx", data, bits=4)
    assert isinstance(caught.value, CalibrationError)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_say_it_in_one_line(case: Case, tmp_path: Path) -> None:
    network, data, _ = case
    onnx.save(network, tmp_path / "net.onnx")
    np.savez(tmp_path / "bad.npz", x=data)
    np.savez(tmp_path / "good.npz", x=good_part(data))
    made = CliRunner().invoke(
        app,
        [
            *("compress", str(tmp_path / "net.onnx"), "-o", str(tmp_path / "small.onnx")),
            *("--calib", str(tmp_path / "good.npz"), "--bits", "4"),
        ],
    )
    assert made.exit_code == 0, made.output
    source, calib = str(tmp_path / "net.onnx"), ("--calib", str(tmp_path / "bad.npz"))
    out = ("-o", str(tmp_path / "out"))
    read = ("--float-network", source, "--data", str(tmp_path / "bad.npz"))
    commands = {
        "plan": ("plan", source, *out, *calib, "--bits", "4"),
        "eval": ("eval", str(tmp_path / "small.onnx"), *read),
        "report": ("report", str(tmp_path / "small.onnx"), *out, *read, "--runs", "0"),
    }
    for name, command in commands.items():
        result = CliRunner().invoke(app, list(command))
        assert result.exit_code == 2, (name, result.output)
        assert len(result.stderr.splitlines()) == 1, (name, result.stderr)
        assert "sample" in result.stderr, (name, result.stderr)
        assert not (tmp_path / "out").exists()


def test_good_samples_have_no_culprit(case: Case) -> None:
    network, data, _ = case
    samples = as_samples(good_part(data), input_specs(network))
    assert culprit(prepare(network, "net"), samples) is None


def test_the_number_is_that_of_the_users_array() -> None:
    network, data, _ = root()
    chosen = as_samples(data, input_specs(network)).select([1, 3, BAD])
    error = culprit(prepare(network, "net"), chosen)
    assert error is not None
    assert "sample 7" in str(error)


@pytest.mark.parametrize(
    ("size", "factor", "where"),
    [
        (1e30, 0.01, "sample 7, input 'x'"),
        (1e12, 1e18, r"sample 7, node 'MatMul of a' \(Linear\), value 'a' \[1, 32\]"),
    ],
)
def test_values_whose_squares_overflow_are_named(
    size: float, factor: float, where: str, tmp_path: Path
) -> None:
    """Though the network itself is finite for them."""
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "y")]
    data = np.random.default_rng(0).normal(size=(COUNT, 32)).astype(np.float32) / 1e6
    data[BAD] *= 1e6 * size
    array = np.float32(factor) * numpy_helper.to_array(constant("w", 32, 32))
    weights = [numpy_helper.from_array(array, "w"), constant("v", 32, 32)]
    network = model(nodes, ["N", 32], *weights)
    with pytest.raises(RunError, match=rf"too large to compute with.*\[.*{where}\].*e\+3\d"):
        subbyte.compress(network, tmp_path / "a.onnx", data, bits=3)
