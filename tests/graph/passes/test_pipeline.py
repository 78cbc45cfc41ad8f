"""What preparation changes, and that the result stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from subbyte.graph.load.network import prepare, read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from tests import tiny
from tests.graph import zoo
from tests.graph.one_node import compare, run_module, run_ort

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], f"node_{output}", **attributes)


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], shape: tuple[int | str, ...]
) -> onnx.ModelProto:
    model = tiny.build(nodes, constants, {"x": shape}, {"y": ["?"]})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def checked(model: onnx.ModelProto, *shape: int) -> Network:
    """The prepared network, after a comparison with ONNX Runtime."""
    x = normal(*shape)
    compare(run_module(model, [x]), run_ort(model, [x]))
    return prepare(model, "net")


def types(network: Network) -> list[str]:
    return [entry.op_type for entry in network.model.graph]


def batch_norm(source: str, output: str, channels: int) -> tuple[onnx.NodeProto, dict[str, Any]]:
    names = [f"{output}.{part}" for part in ("scale", "bias", "mean", "var")]
    arrays = [normal(channels), normal(channels), normal(channels), np.abs(normal(channels)) + 0.5]
    return node("BatchNormalization", " ".join([source, *names]), output), dict(
        zip(names, arrays, strict=True)
    )


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_batch_norm_after_convolution(biased: bool, transposed: bool) -> None:
    norm, constants = batch_norm("c", "y", 6)
    constants["w"] = normal(4, 3, 3, 3) if transposed else normal(6, 2, 3, 3)
    constants |= {"b": normal(6)} if biased else {}
    op_type = "ConvTranspose" if transposed else "Conv"
    layer = node(op_type, "x w b" if biased else "x w", "c", group=2)
    network = checked(model_of([layer, norm], constants, ("N", 4, 5, 5)), 2, 4, 5, 5)
    assert types(network) == [op_type]
    (found,) = network.layers
    assert (found.name, found.weight, found.output) == ("node_c", "w", "y")
    assert found.bias is not None
    assert found.shape.groups == 2


def test_batch_norm_after_linear() -> None:
    norm, constants = batch_norm("c", "y", 5)
    constants["w"] = normal(3, 5)
    network = checked(model_of([node("Gemm", "x w", "c"), norm], constants, ("N", 3)), 2, 3)
    assert types(network) == ["Linear"]


def test_batch_norm_over_tokens_is_not_folded() -> None:
    norm, constants = batch_norm("c", "y", 7)
    constants["w"] = normal(3, 5)
    model = model_of([node("MatMul", "x w", "c"), norm], constants, ("N", 7, 3))
    assert types(checked(model, 2, 7, 3)) == ["Linear", "BatchNormalization"]


def test_batch_norm_stays_where_the_output_is_read_twice_or_the_weight_shared() -> None:
    norm, constants = batch_norm("c", "n", 3)
    constants["w"] = normal(3, 3, 1, 1)
    nodes = [node("Conv", "x w", "c"), norm, node("Add", "n c", "y")]
    assert types(checked(model_of(nodes, constants, ("N", 3, 4, 4)), 2, 3, 4, 4))[1:] == [
        "BatchNormalization",
        "Add",
    ]
    nodes = [node("Conv", "x w", "c"), norm, node("Conv", "n w", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 4, 4)), 2, 3, 4, 4)
    assert types(network) == ["Conv", "BatchNormalization", "Conv"]
    assert [layer.weight for layer in network.layers] == ["w", "w"]


def test_first_batch_norm_stays() -> None:
    norm, constants = batch_norm("x", "n", 3)
    constants["w"] = normal(3, 3, 1, 1)
    nodes = [norm, node("Conv", "n w", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 4, 4)), 2, 3, 4, 4)
    assert types(network) == ["BatchNormalization", "Conv"]


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1), (1, 1, 1, 1), ()])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_after_convolution(shape: tuple[int, ...], op_type: str) -> None:
    constants = {"w": normal(6, 3, 3, 3), "b": normal(6), "k": np.asarray(normal(*shape)) + 2}
    constants["k"] = constants["k"].astype(np.float32)
    nodes = [node("Conv", "x w b", "c"), node(op_type, "c k", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 5, 5)), 2, 3, 5, 5)
    assert types(network) == ["Conv"]


@pytest.mark.parametrize("op_type", ["Sub", "Div"])
def test_layer_on_the_right_of_minus_and_divide(op_type: str) -> None:
    constants = {"w": normal(6, 3, 1, 1), "k": normal(6, 1, 1)}
    nodes = [node("Conv", "x w", "c"), node(op_type, "k c", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 5, 5)), 2, 3, 5, 5)
    assert types(network) == ["Conv", op_type]


def test_spatial_constant_is_not_folded() -> None:
    constants = {"w": normal(6, 3, 1, 1), "k": normal(6, 5, 5)}
    nodes = [node("Conv", "x w", "c"), node("Add", "c k", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 5, 5)), 2, 3, 5, 5)
    assert types(network) == ["Conv", "Add"]


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5), (1,)])
def test_bias_after_matmul(shape: tuple[int, ...]) -> None:
    constants = {"w": normal(3, 5), "b": normal(*shape)}
    nodes = [node("MatMul", "x w", "c"), node("Add", "b c", "y")]
    network = checked(model_of(nodes, constants, ("N", 7, 3)), 2, 7, 3)
    assert types(network) == ["Linear"]
    (layer,) = network.layers
    assert (layer.op, layer.weight) == ("Linear", "w")
    assert layer.bias == ("b" if shape == (5,) else "node_c.bias")
    assert (layer.shape.outputs, layer.shape.inputs, layer.shape.taps) == (5, 3, 1)


def test_constant_on_the_left() -> None:
    constants = {"w": normal(5, 3), "b": normal(5, 1)}
    nodes = [node("MatMul", "w x", "c"), node("Add", "c b", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 7)), 2, 3, 7)
    assert types(network) == ["Linear"]
    assert network.layers[0].node.attributes.get_int("axis") == -2


def test_constant_of_three_axes_is_no_layer() -> None:
    constants = {"w": normal(2, 3, 5)}
    network = checked(model_of([node("MatMul", "x w", "y")], constants, ("N", 7, 3)), 2, 7, 3)
    assert network.layers == ()


def test_shared_weight_stays_shared() -> None:
    constants = {"w": normal(4, 4), "b": normal(4)}
    nodes = [node("MatMul", "x w", "a"), node("Add", "a b", "c"), node("MatMul", "c w", "y")]
    network = checked(model_of(nodes, constants, ("N", 4)), 2, 4)
    assert [(layer.name, layer.weight) for layer in network.layers] == [
        ("node_a", "w"),
        ("node_y", "w"),
    ]
    np.testing.assert_array_equal(
        network.model.graph.initializers["w"].const_value.numpy(), constants["w"].T
    )


def test_weight_through_a_transpose_keeps_its_name() -> None:
    constants = {"fc.weight": normal(5, 3)}
    nodes = [node("Transpose", "fc.weight", "t", perm=[1, 0]), node("MatMul", "x t", "y")]
    network = checked(model_of(nodes, constants, ("N", 3)), 2, 3)
    assert [layer.weight for layer in network.layers] == ["fc.weight"]


def test_quantized_weight_becomes_a_float_layer() -> None:
    codes = RNG.integers(-127, 128, (5, 3), dtype=np.int8)
    constants = {"w": codes, "s": np.array(0.1, np.float32)}
    nodes = [node("DequantizeLinear", "w s", "d"), node("Gemm", "x d", "y", transB=1)]
    network = checked(model_of(nodes, constants, ("N", 3)), 2, 3)
    assert types(network) == ["Linear"]
    assert network.layers[0].weight == "w"


def test_names_are_unique_and_kept() -> None:
    nodes = [node("Relu", "x", "a"), node("Neg", "a", "b"), node("Abs", "b", "c")]
    nodes.append(node("Exp", "c", "y"))
    nodes[1].name, nodes[2].name = "node_a", ""
    network = prepare(model_of(nodes, {}, ("N", 3)), "net")
    names = [entry.name for entry in network.model.graph]
    assert names[0] == "node_a"
    assert names[2:] == ["c", "node_y"]
    assert len(set(names)) == 4


def test_identity_dropout_and_constant_parts_disappear() -> None:
    constants = {"two": np.float32(2), "three": np.array([3, 4, 5], np.float32)}
    nodes = [
        node("Identity", "x", "a"),
        node("Dropout", "a", "b"),
        node("Mul", "two three", "six"),
        node("Mul", "b six", "c"),
        node("Identity", "c", "y"),
    ]
    network = checked(model_of(nodes, constants, ("N", 3)), 2, 3)
    assert types(network) == ["Mul"]
    assert [value.name for value in network.model.graph.outputs] == ["y"]


def test_output_names_survive() -> None:
    nodes = [
        node("Relu", "x", "a"),
        node("Identity", "a", "y"),
        node("Identity", "a", "z"),
        node("Identity", "x", "same"),
    ]
    shapes = {name: ["N", 3] for name in ("y", "z", "same")}
    model = tiny.build(nodes, {}, {"x": ["N", 3]}, shapes)
    x = normal(2, 3)
    compare(run_module(model, [x]), run_ort(model, [x]))
    network = prepare(model, "net")
    assert [value.name for value in network.model.graph.outputs] == ["y", "z", "same"]
    assert types(network) == ["Relu", "Identity", "Identity"]


def test_known_sizes_are_folded_despite_a_dynamic_batch() -> None:
    constants = {
        "two": np.array([2], np.int64),
        "three": np.array([3], np.int64),
        "minus": np.array([-1], np.int64),
        "one": np.array(1, np.int64),
        "axis": np.array([0], np.int64),
    }
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape one", "channels"),
        node("Unsqueeze", "channels axis", "list"),
        node("Slice", "shape two three", "height"),
        node("Concat", "minus list height", "target", axis=0),
        node("Reshape", "x target", "y"),
    ]
    network = checked(model_of(nodes, constants, ("N", 3, 4, 1)), 2, 3, 4, 1)
    assert types(network) == ["Reshape"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize(("size", "stride"), [(7, 2), (8, 2), ("H", 1)])
def test_pads_become_explicit(auto_pad: str, size: int | str, stride: int) -> None:
    conv = node("Conv", "x w", "y", auto_pad=auto_pad, strides=[stride, stride])
    model = model_of([conv], {"w": normal(4, 3, 2, 3)}, ("N", 3, size, size))
    actual = 6 if isinstance(size, str) else size
    (layer,) = checked(model, 2, 3, actual, actual).layers
    assert "auto_pad" not in layer.node.attributes
    assert len(layer.pads) == 4
    assert layer.kernel_shape == (2, 3)
    assert (layer.strides, layer.dilations) == ((stride, stride), (1, 1))


PADS = {
    "whole": ("p", {"p": [0, 0, 1, 2, 0, 0, 0, 3]}),
    "zero given": ("p fill", {"p": [0, 0, 0, 0, 0, 0, 1, 1], "fill": 0.0}),
    "some axes": ("p fill axes", {"p": [1, 2, 3, 0], "fill": 0.0, "axes": [-1, 2]}),
}


@pytest.mark.parametrize("name", list(PADS))
def test_pads_of_zeros_go_into_the_convolutions_behind_them(name: str) -> None:
    inputs, given = PADS[name]
    constants = {
        key: np.array(value, np.float32 if key == "fill" else np.int64)
        for key, value in given.items()
    }
    nodes = [
        node("Pad", f"x {inputs}", "a"),
        node("Conv", "a w", "b", pads=[1, 0, 0, 1]),
        node("Conv", "a w", "c", strides=[2, 2], dilations=[1, 1]),
        node("Flatten", "b", "d"),
        node("Flatten", "c", "e"),
        node("Concat", "d e", "y", axis=1),
    ]
    model = model_of(nodes, constants | {"w": normal(4, 3, 2, 2)}, ("N", 3, 6, 5))
    network = checked(model, 2, 3, 6, 5)
    assert "Pad" not in types(network)
    first, second = network.layers
    assert [a - b for a, b in zip(first.pads, second.pads, strict=True)] == [1, 0, 0, 1]


KEPT_PADS = {
    "other values": ({"fill": np.array(1, np.float32)}, "x p fill", {}),
    "cropping": ({"p": np.array([0, 0, -1, 0, 0, 0, 1, 0], np.int64)}, "x p", {}),
    "channels": ({"p": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64)}, "x p", {}),
    "reflection": ({}, "x p", {"mode": "reflect"}),
}


@pytest.mark.parametrize("name", list(KEPT_PADS))
def test_other_pads_stay(name: str) -> None:
    given, inputs, attributes = KEPT_PADS[name]
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)} | given
    channels = 4 if name == "channels" else 3
    nodes = [node("Pad", inputs, "a", **attributes), node("Conv", "a w", "y")]
    model = model_of(nodes, constants | {"w": normal(4, channels, 2, 2)}, ("N", 3, 6, 5))
    assert types(checked(model, 2, 3, 6, 5)) == ["Pad", "Conv"]


def test_a_pad_that_others_read_stays_for_them() -> None:
    constants = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "w": normal(3, 3, 1, 1)}
    nodes = [node("Pad", "x p", "a"), node("Conv", "a w", "b"), node("Add", "a b", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 6, 5)), 2, 3, 6, 5)
    assert types(network) == ["Pad", "Conv", "Add"]
    assert network.layers[0].pads == (1, 1, 1, 1)


def test_a_convolution_of_a_constant_is_no_layer() -> None:
    constants = {"w": normal(4, 3, 3, 3), "still": normal(1, 3, 6, 6)}
    nodes = [node("Conv", "still w", "a"), node("Conv", "x w", "b"), node("Add", "a b", "y")]
    network = checked(model_of(nodes, constants, ("N", 3, 6, 6)), 2, 3, 6, 6)
    assert [layer.output for layer in network.layers] == ["b"]


def test_pads_that_depend_on_the_input_stay() -> None:
    conv = node("Conv", "x w", "y", auto_pad="SAME_UPPER", strides=[2, 2])
    model = model_of([conv], {"w": normal(4, 3, 3, 3)}, ("N", 3, "H", "W"))
    for size in (6, 7):
        (layer,) = checked(model, 2, 3, size, size).layers
    assert layer.pads == ()


BAKED = [("resnet", True), ("vit", True), ("causal_lm", True), ("reader", True), ("speech", True)]
BAKED += [("vit", False), ("bert", False), ("decoder", False), ("reader", False), ("speech", False)]


@pytest.mark.parametrize(("name", "dynamo"), BAKED)
def test_batch_baked_in_by_an_exporter(name: str, dynamo: bool, tmp_path: Path) -> None:
    module, make_input = zoo.make(name)
    opset = 18 if dynamo else 17
    path = zoo.export(module, make_input(1), tmp_path / "net.onnx", opset, dynamo, dynamic=False)
    network = read_network(path)
    x = make_input(3)
    with torch.no_grad():
        compare([GraphModule(network).eval()(x).numpy()], [module(x).numpy()])
    assert network.fixed_batch is None


def test_batch_that_cannot_be_freed() -> None:
    target = {"target": np.array([1, 6], np.int64), "w": normal(6, 4)}
    nodes = [node("Reshape", "x target", "a"), node("MatMul", "a w", "b")]
    mixing = node("Softmax", "b", "y", axis=0)
    network = checked(model_of([*nodes, mixing], target, (1, 2, 3)), 1, 2, 3)
    assert network.fixed_batch == 1
    network = checked(model_of([*nodes, node("Relu", "b", "y")], target, (1, 2, 3)), 1, 2, 3)
    assert network.fixed_batch is None


def test_larger_batch_baked_in() -> None:
    constants = {"target": np.array([4, 6], np.int64), "w": normal(6, 4)}
    nodes = [node("Reshape", "x target", "a"), node("MatMul", "a w", "y")]
    network = checked(model_of(nodes, constants, (4, 2, 3)), 4, 2, 3)
    assert network.fixed_batch is None
    with torch.no_grad():
        assert GraphModule(network)(torch.zeros(7, 2, 3)).shape == (7, 4)


@pytest.mark.parametrize("positions", [False, True])
def test_angles_of_one_sample_become_the_batchs(positions: bool) -> None:
    # onnxruntime broadcasts neither angles nor positions.
    constants = {"w": normal(4, 4), "cos": normal(1, 6, 2), "sin": normal(1, 6, 2)}
    if positions:
        constants |= {"cos": normal(9, 2), "sin": normal(9, 2), "at": np.arange(6)[None] + 2}
    inputs = "a cos sin at" if positions else "a cos sin"
    nodes = [node("MatMul", "x w", "a"), node("RotaryEmbedding", inputs, "y")]
    model = model_of(nodes, constants, (1, 3, 6, 4))
    model.opset_import[0].version, model.ir_version = 23, 11
    network = checked(model, 1, 3, 6, 4)
    assert network.fixed_batch is None
    x = normal(3, 3, 6, 4)
    with torch.no_grad():
        together = GraphModule(network)(torch.from_numpy(x)).numpy()
    compare([together], [np.concatenate([run_ort(model, [row[None]])[0] for row in x])])
    assert "Expand" in types(network)


@pytest.mark.parametrize("axis", [0, -3])
def test_one_sample_flattened_to_a_row(axis: int) -> None:
    nodes = [node("Flatten", "x", "a", axis=axis), node("MatMul", "a w", "y")]
    network = checked(model_of(nodes, {"w": normal(6, 4)}, (1, 2, 3)), 1, 2, 3)
    assert network.fixed_batch is None
    x = torch.from_numpy(normal(7, 2, 3))
    with torch.no_grad():
        y, first = GraphModule(network)(x), GraphModule(network)(x[:1])
    assert y.shape == (7, 4)
    torch.testing.assert_close(y[:1], first)


def test_progress_where_a_batch_is_baked_in() -> None:
    """The network is run then, which takes a while; else there is nothing to wait for."""
    constants = {"target": np.array([4, 6], np.int64), "w": normal(6, 4)}
    nodes = [node("Reshape", "x target", "a"), node("MatMul", "a w", "y")]
    said: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int, detail: str) -> None:
        said.append((done, total))

    prepare(model_of(nodes, constants, (4, 2, 3)), "net", progress=progress)
    assert said == [(0, 2), (1, 2), (2, 2)]
    prepare(model_of([node("MatMul", "x w", "y")], constants, ("N", 6)), "net", progress=progress)
    assert len(said) == 3


@pytest.mark.parametrize("more", [{}, {"onesided": 1}, {"onesided": 0}])
def test_a_layer_behind_a_spectrum_of_default_sides(more: dict[str, int]) -> None:
    constants = {
        "hop": np.array(8, np.int64),
        "window": normal(16),
        "part": np.array([3], np.int64),
    }
    constants["w"] = normal(16 if more.get("onesided") == 0 else 9, 5)
    nodes = [
        node("STFT", "x hop window", "s", **more),
        node("Abs", "s", "a"),
        node("ReduceSum", "a part", "r", keepdims=0),
        node("MatMul", "r w", "y"),
    ]
    network = checked(model_of(nodes, constants, ("N", 64)), 2, 64)
    assert [layer.op for layer in network.layers] == ["Linear"]
