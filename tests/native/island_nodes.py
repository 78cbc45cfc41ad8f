"""Parts of nodes without weights, for the tests of native operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import FunctionProto, helper

from subbyte.graph.functions.body import make_function
from tests.native.operators import OPSET

POOLS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], "ceil_mode": 0},
    "padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 0},
    "ceil": {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [0, 1, 0, 0], "ceil_mode": 1},
}
Q_UNARY = {"x": (0.05, 140), "y": (0.03, 10)}


def unary(seed: int = 0) -> tuple[FunctionProto, np.ndarray]:
    """x sigmoid(x), and its table for the parameters x (0.05, 140), y (0.03, 10)."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "y_scale", "y_zero"], ["y"]),
    ]
    inputs = ["x", "x_scale", "x_zero", "y_scale", "y_zero", "table"]
    function = make_function(f"Unary{seed}", inputs, ["y"], nodes, [], OPSET)
    x = 0.05 * (np.arange(256) - 140)
    codes = np.rint(x / (1 + np.exp(-x)) / 0.03) + 10
    return function, np.clip(codes, 0, 255).astype(np.uint8)
