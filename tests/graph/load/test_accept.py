"""What ONNX Runtime takes, the reader takes: order, names, declared shapes, odd outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.load.accept import put_right
from subbyte.graph.load.network import prepare
from tests.graph.one_node import compare, run_module, run_ort

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
W = RNG.standard_normal((4, 4)).astype(np.float32)
X = RNG.standard_normal((2, 4)).astype(np.float32)


def value(name: str, *shape: int | str, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape or ("N", 4))


def matmul(x: str, y: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node("MatMul", [x, "w"], [y], name)


def model_of(
    nodes: list[onnx.NodeProto] | None = None,
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    constants: dict[str, np.ndarray] | None = None,
    opsets: list[tuple[str, int]] | None = None,
    name: str = "g",
    **more: Any,
) -> onnx.ModelProto:
    """x @ w @ w, unless something else is given."""
    graph = helper.make_graph(
        nodes or [matmul("x", "a"), matmul("a", "y")],
        name,
        inputs or [value("x")],
        outputs or [value("y")],
        [numpy_helper.from_array(array, key) for key, array in (constants or {"w": W}).items()],
        value_info=more.pop("value_info", []),
    )
    imports = [helper.make_opsetid(*entry) for entry in opsets or [("", 18)]]
    return helper.make_model(graph, opset_imports=imports, ir_version=more.pop("ir_version", 8))


def untyped(name: str) -> onnx.ValueInfoProto:
    made = value(name)
    made.ClearField("type")
    return made


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    made = nodes[0].output[0]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(made, FLOAT, None)])


RELU = helper.make_node("Relu", ["a"], ["r"])

CASES = {
    "unsorted": model_of([matmul("r", "y"), RELU, matmul("x", "a")]),
    "output of another size": model_of(outputs=[value("y", "N", 7)]),
    "output of another rank": model_of(outputs=[value("y", "N", 7, 3)]),
    "output of one batch": model_of(outputs=[value("y", 1, 4)]),
    "output without type": model_of(outputs=[untyped("y")]),
    "output without shape": model_of(outputs=[helper.make_tensor_value_info("y", FLOAT, None)]),
    "output of other symbols": model_of(outputs=[value("y", "M", "K")]),
    "values of other shapes": model_of(
        [matmul("x", "a"), RELU, matmul("r", "y")],
        value_info=[value("a", 3, 9), value("r", 2)],
    ),
    "value twice": model_of(value_info=[value("a"), value("a")]),
    "constant declared otherwise": model_of(value_info=[value("w", 9, 9)]),
    "constant as input": model_of(inputs=[value("x"), value("w", 4, 4)]),
    "unused constant": model_of(constants={"w": W, "v": W}),
    "node without readers": model_of([matmul("x", "a"), matmul("a", "y"), matmul("x", "d")]),
    "input as output": model_of(outputs=[value("y"), value("x")]),
    "input as output without shape": model_of(outputs=[value("y"), untyped("x")]),
    "constant as output": model_of(outputs=[value("y"), value("w", 4, 4)]),
    "output twice": model_of(outputs=[value("y"), value("y")]),
    "output and inner value": model_of(outputs=[value("y"), value("a")]),
    "domain by its long name": model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"], domain="ai.onnx")],
        opsets=[("ai.onnx", 18)],
    ),
    "domain under both names": model_of(opsets=[("", 18), ("ai.onnx", 18)]),
    "domain twice": model_of(opsets=[("", 18), ("", 18)]),
    "graph without name": model_of(name=""),
    "negative sizes": model_of(inputs=[value("x", -1, 4)], outputs=[value("y", -1, 4)]),
    "old version": model_of(opsets=[("", 11)], ir_version=3),
}


@pytest.mark.parametrize("name", CASES)
def test_what_onnxruntime_takes_is_taken(name: str) -> None:
    model = CASES[name]
    before = model.SerializeToString(deterministic=True)
    compare(run_module(model, [X]), run_ort(model, [X]))
    network = prepare(model, "net")
    assert all(layer.shape.outputs == 4 for layer in network.layers)
    assert model.SerializeToString(deterministic=True) == before


def test_unused_inputs_stay_inputs() -> None:
    model = model_of(inputs=[value("x"), value("unused", "N", 2)])
    assert [str(entry.name) for entry in prepare(model, "net").model.graph.inputs] == [
        "x",
        "unused",
    ]


def test_wrong_output_shapes_are_corrected_and_right_ones_kept() -> None:
    shapes = {
        "output of another size": ["N", 4],
        "output of one batch": ["N", 4],
        "output of other symbols": ["M", "K"],
    }
    for name, expected in shapes.items():
        found = put_right(CASES[name]).graph.output[0].type.tensor_type.shape.dim
        assert [dim.dim_value or dim.dim_param for dim in found] == expected


def test_sorting_sees_what_inner_graphs_read() -> None:
    nodes = [
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch("then", helper.make_node("Relu", ["a"], ["t"])),
            else_branch=branch("else", helper.make_node("Neg", ["a"], ["e"])),
        ),
        matmul("x", "a"),
    ]
    model = model_of(nodes, constants={"w": W, "c": np.array(True)})
    order = [node.op_type for node in put_right(model).graph.node]
    assert order == ["MatMul", "If"]


def test_sorted_nodes_keep_their_order() -> None:
    names = ["b", "a", "c", "y"]
    nodes = [matmul("x", names[0], "3"), matmul("x", names[1], "1")]
    nodes += [matmul("b", names[2], "2"), helper.make_node("Add", ["a", "c"], ["y"], "0")]
    found = put_right(model_of(nodes)).graph.node
    assert [node.name for node in found] == ["3", "1", "2", "0"]


def test_a_cycle_is_left_to_the_checker() -> None:
    model = model_of([matmul("b", "a"), matmul("a", "b"), matmul("a", "y")])
    assert [node.output[0] for node in put_right(model).graph.node] == ["a", "b", "y"]
