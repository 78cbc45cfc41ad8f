"""Shapes that follow from values which coding changes, and those that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from subbyte.graph.compressed.loose_shapes import loose_outputs
from subbyte.graph.load.network import prepare
from tests import tiny

node = helper.make_node
ONE = np.array([1], np.int64)
CONSTANTS: dict[str, Any] = {"one": ONE, "sizes": np.array([-1, 2, 4]), "axis": np.array([0])}

# How much of h = x @ w is positive: an integer that coding changes.
COUNT = [
    node("Relu", ["h"], ["p"]),
    node("ReduceMax", ["p"], ["m"], keepdims=0),
    node("Cast", ["m"], ["n"], to=TensorProto.INT64),
    node("Reshape", ["n", "one"], ["k"]),
]


def loose(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> bool:
    first = node("MatMul", ["x", "w"], ["h"], "first")
    weight = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    constants = {name: CONSTANTS[name] for name in CONSTANTS if any(name in n.input for n in nodes)}
    model = tiny.build([first, *nodes], {"w": weight} | constants, {"x": ["N", 8]}, {})
    model.graph.output.append(helper.make_tensor_value_info("y", kind, None))
    # So that there is a layer in any case.
    model.graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 8]))
    return "y" in loose_outputs(prepare(model, "net"))


SUM = node("ReduceSum", ["h"], ["sum"], keepdims=0)
FOUND = node("NonZero", ["h"], ["i"])


@pytest.mark.parametrize(
    ("nodes", "kind"),
    [
        ([node("NonZero", ["h"], ["y"])], TensorProto.INT64),
        ([*COUNT, SUM, node("Expand", ["sum", "k"], ["y"])], TensorProto.FLOAT),
        ([*COUNT, node("Slice", ["h", "axis", "k", "axis"], ["y"])], TensorProto.FLOAT),
        (
            [FOUND, node("Shape", ["i"], ["s"]), node("ConstantOfShape", ["s"], ["y"])],
            TensorProto.FLOAT,
        ),
    ],
    ids=["count", "expand", "slice", "shape of a count"],
)
def test_loose(nodes: list[onnx.NodeProto], kind: int) -> None:
    assert loose(*nodes, kind=kind)


def test_the_shape_of_a_loose_value_has_a_firm_shape() -> None:
    assert not loose(FOUND, node("Shape", ["i"], ["y"]), kind=TensorProto.INT64)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Tanh", ["h"], ["y"])],
        [node("Reshape", ["h", "sizes"], ["y"])],
        [node("Shape", ["h"], ["s"]), node("ConstantOfShape", ["s"], ["y"])],
        # Of the input alone: the same in both networks.
        [node("NonZero", ["x"], ["i"]), node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)],
    ],
    ids=["plain", "constant sizes", "shape of a value", "of the input"],
)
def test_firm(nodes: list[onnx.NodeProto]) -> None:
    assert not loose(*nodes)
