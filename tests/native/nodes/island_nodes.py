"""Parts of nodes without weights, for the tests of native operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import FunctionProto, helper

from subbyte.graph.functions.body import make_function
from subbyte.graph.functions.layer import layer_with_unary
from tests.native.nodes.operators import OPSET, Node, parameters

POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], "ceil_mode": 0},
    "padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 0},
    "ceil": {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 0, 0], "ceil_mode": 1},
}
Q_UNARY = {"x": (0.05, 140), "y": (0.03, 10)}
# Behind a layer. Neighbours of m give neighbours of y: a layer may round to either.
Q_BEHIND = {"m": Q_UNARY["x"], "y": (0.06, 10)}


def unary(seed: int = 0, y: tuple[float, int] = Q_UNARY["y"]) -> tuple[FunctionProto, np.ndarray]:
    """x sigmoid(x), and its table for the parameters x (0.05, 140) and those of y."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "y_scale", "y_zero"], ["y"]),
    ]
    inputs = ["x", "x_scale", "x_zero", "y_scale", "y_zero", "table"]
    function = make_function(f"Unary{seed}", inputs, ["y"], nodes, [], OPSET)
    x = 0.05 * (np.arange(256) - 140)
    codes = np.rint(x / (1 + np.exp(-x)) / y[0]) + y[1]
    return function, np.clip(codes, 0, 255).astype(np.uint8)


def with_unary(node: Node, number: int = 0) -> Node:
    """A layer with this function of its output, quantized by `Q_BEHIND`."""
    function, table = unary(number, Q_BEHIND["y"])
    functions = [*node.functions, function, layer_with_unary(node.function, function, OPSET)]
    constants = {**node.constants, **parameters(Q_BEHIND), "table": table}
    return Node(functions, constants, node.feeds, node.attributes)
