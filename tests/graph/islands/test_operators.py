"""The table of island operators, and that one row is all an operator needs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
import pytest

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, Kind, ValueLayout
from subbyte.graph.functions.body import Body, make_function
from subbyte.graph.islands.intervals import Interval, hull
from subbyte.graph.islands.operators import OPERATORS, IslandOperator, operator, register
from subbyte.graph.islands.operators.registry import never
from tests.graph.builder import Builder
from tests.graph.written import assert_computes_the_plan, built


def mean_function(opset: int) -> onnx.FunctionProto:
    """y = (x + r) / 2, all uint8 with their own parameters."""
    body = Body()
    x = body.op("DequantizeLinear", "x", "x_scale", "x_zero")
    r = body.op("DequantizeLinear", "r", "r_scale", "r_zero")
    body.op("QuantizeLinear", body.op("Mean", x, r), "y_scale", "y_zero", output="y")
    inputs = ["x", "x_scale", "x_zero", "r", "r_scale", "r_zero", "y_scale", "y_zero"]
    return make_function("Mean", inputs, ["y"], body.nodes, [], opset)


@pytest.fixture
def mean_of_two() -> Iterator[None]:
    """One row: the mean of two feature maps."""

    @operator(
        "Mean",
        row=IslandOperator(
            supported=lambda node: len(query.data_inputs(node)) == len(node.inputs) == 2,
            interval=lambda node, inputs: hull(inputs),
        ),
    )
    def mean(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
        form: ValueLayout = "uint8", emitter.layout(*node.inputs)
        inputs = [name for value in node.inputs for name in emitter.quantized(value, form)]
        inputs += emitter.quantization(node.outputs[0])
        emitter.call(mean_function(emitter.opset), inputs, [emitter.define(node.outputs[0], form)])

    yield
    del OPERATORS["Mean"]


def network() -> tuple[Builder, str]:
    """Two layers, clamped, whose mean a third one reads."""
    b = Builder()
    low, high = b.constant("low", 0.0), b.constant("high", 6.0)
    clipped = b.op("Clip", "clipped", b.conv("a", "x", 8, 8), low, high)
    rectified = b.op("Relu", "rectified", b.conv("b", "x", 8, 8))
    mean = b.op("Mean", "mean", clipped, rectified)
    return b, b.head(b.conv("c", mean, 8, 8), 8)


def test_an_operator_is_added_by_one_row(mean_of_two: None) -> None:
    b, output = network()
    case = built(b, **{output: 2})
    assert {layer.form for layer in case.plan.layers.values()} == {"uint8", "dequant"}
    assert "mean" in case.plan.nodes
    limits = {value.name: value.limit for group in case.plan.groups for value in group.values}
    assert limits["mean"] == Interval(0.0)
    assert [node.op_type for node in case.model.graph.node if node.name == ""].count("Mean") == 1
    assert_computes_the_plan(case)


def test_without_the_row_the_same_node_ends_the_island() -> None:
    b, output = network()
    case = built(b, **{output: 2})
    assert "mean" not in case.plan.nodes
    assert_computes_the_plan(case)


def test_a_second_row_is_refused() -> None:
    with pytest.raises(KeyError, match="Add is registered twice"):
        register("Add", row=IslandOperator())


@pytest.mark.parametrize("op_type", OPERATORS)
def test_rows_are_whole(op_type: str) -> None:
    row = OPERATORS[op_type]
    assert onnx.defs.has(op_type)
    assert (row.write is None) == (row.supported is never)
    assert row.write is not None or row.shares == "none"
    assert row.write is not None or not row.moves
    assert row.elementwise or row.channels_last is None
