"""Networks small enough to build in a test, and the data that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4
CHANNELS = 3
SIZE = 6


def build(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    inputs: dict[str, Sequence[int | str]],
    outputs: dict[str, Sequence[int | str]],
    input_type: int = TensorProto.FLOAT,
    extra_domain: str | None = None,
) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 18)]
    if extra_domain is not None:
        opsets.append(helper.make_opsetid(extra_domain, 1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, input_type, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def conv_weights(seed: int = 0, width: int = 16) -> dict[str, NDArray[np.float32]]:
    """Weights and biases of `classifier`."""
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1.weight": (width, CHANNELS, 3, 3),
        "conv1.bias": (width,),
        "conv2.weight": (width, width, 3, 3),
        "conv2.bias": (width,),
        "head.weight": (CLASSES, width),
        "head.bias": (CLASSES,),
    }
    return {
        name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def conv(name: str, source: str, output: str) -> onnx.NodeProto:
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    return helper.make_node("Conv", inputs, [output], name, pads=[1] * 4)


def classifier(
    weights: dict[str, NDArray[np.float32]] | None = None,
    *,
    batch: int | str = "N",
    channels: int = CHANNELS,
    activation: str = "Relu",
    domain: str = "",
) -> onnx.ModelProto:
    """input [N, 3, 6, 6] -> conv, activation, conv, relu, mean over the map, linear -> logits."""
    constants = conv_weights() if weights is None else weights
    constants = dict(constants)
    constants["conv1.weight"] = constants["conv1.weight"][:, :channels]
    nodes = [
        helper.make_node(
            "Conv", ["input", "conv1.weight", "conv1.bias"], ["c1"], "conv1", pads=[1] * 4
        ),
        helper.make_node(activation, ["c1"], ["r1"], "act1", domain=domain),
        helper.make_node(
            "Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], "conv2", pads=[1] * 4
        ),
        helper.make_node("Relu", ["c2"], ["r2"], "act2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["logits"], "head", transB=1),
    ]
    return build(
        nodes,
        constants,
        {"input": [batch, channels, SIZE, SIZE]},
        {"logits": [batch, CLASSES]},
        extra_domain=domain or None,
    )


def two_inputs(input_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """a [N, 4] + b [N, 4] -> sum [N, 4], as floats."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"], "add"),
        helper.make_node("Cast", ["s"], ["sum"], "cast", to=TensorProto.FLOAT),
    ]
    shape = ["N", 4]
    return build(nodes, {}, {"a": shape, "b": shape}, {"sum": shape}, input_type)


def images(count: int = 24, seed: int = 1) -> NDArray[np.uint8]:
    """Channels last, [N, 6, 6, 3], bytes."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIZE, SIZE, CHANNELS), dtype=np.uint8)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
