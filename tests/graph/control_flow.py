"""Networks with If and Loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests import tiny

Array = NDArray[Any]


def weight(*shape: int) -> Array:
    """The same for one shape, whatever ran before."""
    return (np.random.default_rng(shape).standard_normal(shape) / np.sqrt(shape[-1])).astype(
        np.float32
    )


def branch(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    output: str,
    constants: Mapping[str, Array] | None = None,
) -> onnx.GraphProto:
    """A branch whose output has no known shape, as exporters write it."""
    tensors = [numpy_helper.from_array(array, key) for key, array in (constants or {}).items()]
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [out], tensors)


def choice(
    condition: str, yes: onnx.GraphProto, no: onnx.GraphProto, output: str = "y"
) -> onnx.NodeProto:
    return helper.make_node("If", [condition], [output], "choice", then_branch=yes, else_branch=no)


def both_sides(condition: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """Linear layers before, in and behind an If; both branches read a value from outside."""
    yes = branch(
        "yes",
        [
            helper.make_node("MatMul", ["a", "w"], ["m"], "inner"),
            helper.make_node("Relu", ["m"], ["o"], "r"),
        ],
        "o",
        {"w": weight(8, 8)},
    )
    no = branch("no", [helper.make_node("Neg", ["a"], ["o2"], "r")], "o2")
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"], "first"),
        *condition,
        choice("c", yes, no, "i"),
        helper.make_node("Gemm", ["i", "w2"], ["y"], "last"),
    ]
    constants = {"w1": weight(8, 8), "w2": weight(8, 4), "zero": np.float32(0)}
    return tiny.build(nodes, constants, {"x": ["N", 8]}, {"y": ["N", 4]})


ON_DATA = [
    helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
    helper.make_node("Greater", ["s", "zero"], ["c"]),
]


def loop(inner: str) -> onnx.ModelProto:
    """v <- relu(v W + a), three times; the body's names are those of the graph around it."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["v", "w"], ["m"], "inner"),
            helper.make_node("Add", ["m", "a"], ["t"], "add"),
            helper.make_node("Relu", ["t"], [inner], "relu"),
            helper.make_node("Identity", ["go"], ["again"], "again"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info(inner, TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(weight(32, 32), "w")],
    )
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Loop", ["three", "", "b"], ["l"], "loop", body=body),
        helper.make_node("Gemm", ["l", "w2"], ["y"], "last"),
    ]
    constants = {"w1": weight(8, 32), "w2": weight(32, 4), "three": np.array(3, np.int64)}
    return tiny.build(nodes, constants, {"x": ["N", 8]}, {"y": ["N", 4]})
