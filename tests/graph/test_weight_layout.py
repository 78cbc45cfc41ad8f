from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from subbyte.graph.load.network import prepare
from subbyte.graph.weight_layout import canonical, output_layers, to_onnx_layout
from tests import tiny

RNG = np.random.default_rng(0)


def layer_of(op_type: str, weight: np.ndarray, groups: int) -> onnx.ModelProto:
    channels = weight.shape[0] if op_type == "ConvTranspose" else groups * weight.shape[1]
    attributes = {} if op_type == "MatMul" else {"group": groups}
    node = helper.make_node(op_type, ["x", "w"], ["y"], "node", **attributes)
    spatial = [8] * (weight.ndim - 2)
    shape = ["N", weight.shape[0]] if op_type == "MatMul" else ["N", channels, *spatial]
    model = tiny.build([node], {"w": weight}, {"x": shape}, {"y": ["N"]})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


CASES = [
    ("Conv", (6, 2, 3, 5), 1),
    ("Conv", (6, 2, 3), 3),
    ("Conv", (4, 1, 2, 2, 3), 4),
    ("ConvTranspose", (6, 4, 3, 5), 1),
    ("ConvTranspose", (6, 2, 3), 3),
    ("MatMul", (5, 7), 1),
]


@pytest.mark.parametrize(("op_type", "shape", "groups"), CASES)
def test_round_trip(op_type: str, shape: tuple[int, ...], groups: int) -> None:
    weight = RNG.standard_normal(shape).astype(np.float32)
    network = prepare(layer_of(op_type, weight, groups), "net")
    (layer,) = network.layers
    stored = network.model.graph.initializers[layer.weight].const_value.numpy()
    packed = canonical(layer, stored)
    assert packed.shape == (layer.shape.outputs, layer.shape.taps, layer.shape.inputs)
    np.testing.assert_array_equal(to_onnx_layout(layer, packed), stored)
    tensor = canonical(layer, torch.from_numpy(np.array(stored)))
    np.testing.assert_array_equal(tensor.numpy(), packed)
    np.testing.assert_array_equal(to_onnx_layout(layer, tensor).numpy(), stored)


def test_meaning_of_the_axes() -> None:
    weight = RNG.standard_normal((6, 2, 3, 5)).astype(np.float32)
    (layer,) = prepare(layer_of("Conv", weight, 1), "net").layers
    assert canonical(layer, weight)[4, 2 * 5 + 3, 1] == weight[4, 1, 2, 3]
    weight = RNG.standard_normal((6, 2, 3, 5)).astype(np.float32)
    (layer,) = prepare(layer_of("ConvTranspose", weight, 3), "net").layers
    # Group 1 has inputs 2 and 3 and outputs 2 and 3.
    assert canonical(layer, weight)[2 + 1, 2 * 5 + 3, 0] == weight[2, 1, 2, 3]


def test_output_layers_have_no_layer_behind_them() -> None:
    network = prepare(tiny.classifier(), "tiny")
    assert len(network.layers) > 1
    assert output_layers(network) == {network.layers[-1].weight}


def test_parallel_heads_are_output_layers() -> None:
    weight = np.ones((4, 3, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "stem"], ["s"], "stem_node"),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Conv", ["r", "one"], ["a"], "one_node"),
        helper.make_node("Conv", ["r", "two"], ["b"], "two_node"),
        helper.make_node("Sigmoid", ["b"], ["c"]),
    ]
    heads = {
        name: np.ones((2, 4, 1, 1), np.float32) * k for k, name in enumerate(("one", "two"), 1)
    }
    infos = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 2, 8, 8]) for name in "ac"
    ]
    graph = helper.make_graph(
        nodes,
        "heads",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])],
        infos,
        [onnx.numpy_helper.from_array(a, n) for n, a in {"stem": weight, **heads}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert output_layers(prepare(model, "heads")) == {"one", "two"}
