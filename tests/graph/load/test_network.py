from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from subbyte.errors import (
    AlreadyCompressedError,
    ModelFileError,
    UnsupportedOperatorError,
    WeightError,
)
from subbyte.graph.load.network import prepare, read_network
from tests import tiny
from tests.graph.one_node import compare, one_node, run_module, run_ort

X = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save_model(model, path)
    return path


def assert_one_line(error: Exception, *parts: str) -> None:
    message = str(error)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_network(tmp_path / "none.onnx")
    assert_one_line(caught.value, "none.onnx")


@pytest.mark.parametrize("content", [b"", b"hello world, this is no network\n" * 9, b"\x00" * 64])
def test_not_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_network(path)
    assert_one_line(caught.value, "bad.onnx")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated(part: float, tmp_path: Path) -> None:
    data = tiny.classifier().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(ModelFileError) as caught:
        read_network(path)
    assert_one_line(caught.value, "cut.onnx")


def external(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save_model(
        tiny.classifier(), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    return path


def test_external_data(tmp_path: Path) -> None:
    model = prepare(tiny.classifier(), "inline")
    other = read_network(external(tmp_path))
    assert [layer.weight for layer in model.layers] == [layer.weight for layer in other.layers]
    for name, value in model.model.graph.initializers.items():
        stored = other.model.graph.initializers[name]
        np.testing.assert_array_equal(value.const_value.numpy(), stored.const_value.numpy())


@pytest.mark.parametrize("keep", [None, 10])
def test_broken_external_data(keep: int | None, tmp_path: Path) -> None:
    path = external(tmp_path)
    data = tmp_path / "net.data"
    content = data.read_bytes()
    data.unlink()
    if keep is not None:
        data.write_bytes(content[:keep])
    with pytest.raises(ModelFileError) as caught:
        read_network(path)
    assert_one_line(caught.value, "net.onnx")


def test_already_compressed() -> None:
    node = helper.make_node("ProductConv", ["x"], ["y"], "conv", domain="subbyte")
    model = tiny.build([node], {}, {"x": [1]}, {"y": [1]}, extra_domain="subbyte")
    with pytest.raises(AlreadyCompressedError) as caught:
        prepare(model, "small")
    assert_one_line(caught.value, "small")


def test_unknown_operators_are_listed_in_one_error() -> None:
    inner = helper.make_graph(
        [helper.make_node("Odd", ["b"], ["o"], "deep", domain="my.ops")],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])],
    )
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "fine"),
        helper.make_node("Strange", ["a"], ["b"], "odd", domain="my.ops"),
        helper.make_node("Gelu", ["a"], ["g"], "known", domain="com.microsoft"),
        helper.make_node("If", ["c"], ["y"], "choice", then_branch=inner, else_branch=inner),
    ]
    constants = {"c": np.array(True)}
    model = tiny.build(nodes, constants, {"x": [1]}, {"y": [1]}, extra_domain="my.ops")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedOperatorError) as caught:
        prepare(model, "net")
    assert_one_line(
        caught.value,
        "my.ops.Strange (node odd, opset 1)",
        "my.ops.Odd (node deep, opset 1)",
        "expected an export with operators that it knows",
    )
    assert "Relu" not in str(caught.value)
    assert "Gelu" not in str(caught.value)


@pytest.mark.parametrize("opset", [6, 99])
def test_operator_sets_out_of_range(opset: int) -> None:
    model = tiny.classifier()
    model.opset_import[0].version = opset
    with pytest.raises(ModelFileError) as caught:
        prepare(model, "net")
    assert_one_line(caught.value, f"got {opset}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    weights = tiny.conv_weights()
    weights["conv2.weight"][1, 2, 0, 1] = value
    nodes = [tiny.conv("conv1", "x", "a"), tiny.conv("conv2", "a", "y")]
    constants = {name: array for name, array in weights.items() if "conv" in name}
    model = tiny.build(nodes, constants, {"x": ["N", 3, 6, 6]}, {"y": ["N", 16, 6, 6]})
    with pytest.raises(WeightError) as caught:
        prepare(model, "net")
    assert_one_line(caught.value, "initializer conv2.weight", "node conv2", "1 NaN or Inf")


@pytest.mark.parametrize(
    ("shape", "group"), [((4, 2, 1, 1), 1), ((4, 3, 1, 1), 2), ((3, 1, 1, 1), 2), ((0, 3, 1, 1), 1)]
)
def test_weights_of_an_impossible_shape(shape: tuple[int, ...], group: int) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=group)
    weight = np.ones(shape, np.float32)
    model = tiny.build([node], {"w": weight}, {"x": ["N", 3, 6, 6]}, {"y": ["N", 4, 6, 6]})
    with pytest.raises(WeightError) as caught:
        prepare(model, "net")
    assert_one_line(caught.value, "node conv", f"got {list(shape)}")


def test_constant_with_too_few_data() -> None:
    model = tiny.classifier()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelFileError) as caught:
        prepare(model, "net")
    assert_one_line(caught.value, "net")


def test_inf_in_a_mask_is_no_error() -> None:
    mask = np.triu(np.full((6, 6), -np.inf, np.float32), 1)
    model = one_node("Add", [X, mask], constants={1: mask})
    compare(run_module(model, [X]), run_ort(model, [X]))


def test_invalid_graph() -> None:
    model = one_node("Relu", [X])
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelFileError) as caught:
        prepare(model, "net")
    assert_one_line(caught.value, "nowhere")


def test_functions_are_inlined() -> None:
    body = [
        helper.make_node("Mul", ["x", "w"], ["t"]),
        helper.make_node("Relu", ["t"], ["y"]),
    ]
    function = helper.make_function(
        "my.ops", "Scaled", ["x", "w"], ["y"], body, [helper.make_opsetid("", 18)]
    )
    weight = np.array([2.0, -1.0, 0.5], np.float32)
    nodes = [helper.make_node("Scaled", ["x", "w"], ["y"], "call", domain="my.ops")]
    model = tiny.build(
        nodes, {"w": weight}, {"x": ["N", 3]}, {"y": ["N", 3]}, extra_domain="my.ops"
    )
    model.functions.append(function)
    x = X[0, 0, :, :3].copy()
    compare(run_module(model, [x]), [np.maximum(x * weight, 0)])


def test_constants_of_every_kind() -> None:
    nodes = [
        helper.make_node("Constant", [], ["shape"], value_ints=[0, -1]),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.float32(3))),
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("Mul", ["two", "three"], ["six"]),
        helper.make_node("Mul", ["a", "six"], ["y"]),
    ]
    model = tiny.build(nodes, {}, {"x": ["N", 3, 6, 6]}, {"y": ["N", 108]})
    compare(run_module(model, [X]), [6 * X.reshape(2, -1)])
    graph = prepare(model, "net").model.graph
    assert [node.op_type for node in graph] == ["Reshape", "Mul"]
