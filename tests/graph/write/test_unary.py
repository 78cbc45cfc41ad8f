"""Functions of one value as they are written: a body, and a table that holds its results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from subbyte.graph.compressed.inline import inline
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.write.model import write_network
from subbyte.graph.write.unary import is_gate
from tests.graph.builder import Builder
from tests.graph.coding import session
from tests.graph.unary import FUNCTIONS
from tests.graph.written import Case, assert_computes_the_plan, built, run
from tests.native.nodes.operators import open_model


def network(name: str) -> Case:
    """A convolution before and after the function."""
    b = Builder()
    y = FUNCTIONS[name](b, b.conv("a", "x", 8, 8))
    return built(b, **{b.head(b.conv("last", y, 8, 8), 8): 2})


def unary_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if "Unary" in node.op_type]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.domain == DOMAIN]


def apart(case: Case) -> onnx.ModelProto:
    """The file in which no function is taken into the layer before it."""
    fused = {y: layer for y, layer in case.plan.fused.items() if y not in case.plan.functions}
    plan = replace(case.plan, fused=fused)
    return write_network(case.network, case.coded, None, plan, case.params)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_file_computes_the_plan(name: str) -> None:
    case = network(name)
    assert [node.op_type for node in unary_nodes(case.model)] == ["ScalarConvUnary0"]
    assert_computes_the_plan(case)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_table_holds_what_the_body_gives(name: str) -> None:
    """All 256 codes, up to one where a result lies between two; the body rounds gates too."""
    case = network(name)
    two = apart(case)
    (node,) = unary_nodes(two)
    arrays = {t.name: numpy_helper.to_array(t) for t in two.graph.initializer}
    one = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(node.input[0], onnx.TensorProto.UINT8, [256])],
        [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UINT8, [256])],
        [t for t in two.graph.initializer if t.name in node.input],
    )
    model = helper.make_model(
        one,
        opset_imports=two.opset_import,
        functions=[f for f in two.functions if f.name == node.op_type],
        ir_version=10,
    )
    codes = np.arange(256, dtype=np.uint8)
    (body,) = session(model).run(None, {node.input[0]: codes})
    difference = np.abs(arrays[node.input[5]].astype(int) - body)
    assert difference.max() <= 1
    (function,) = case.plan.functions.values()
    gated = any(is_gate(function, inner) for inner in function.nodes)
    assert (difference > 0).mean() < (0.15 if gated else 0.05)
    assert len(np.unique(body)) > 20


def test_equal_functions_share_a_body_and_others_do_not() -> None:
    b, y = Builder(), "x"
    for number in range(3):
        a = b.conv(f"a{number}", y, 8, 8)
        slope = {"alpha": 0.1 if number < 2 else 0.3}
        y = b.op("LeakyRelu", f"l{number}", a, **slope)
    case = built(b, **{b.head(b.conv("last", y, 8, 8), 8): 2})
    found = [node.op_type for node in unary_nodes(case.model)]
    assert found == ["ScalarConvUnary0", "ScalarConvUnary0", "ScalarConvUnary1"]
    functions = [f.name for f in case.model.functions if f.domain == DOMAIN]
    assert sum(name.startswith("Unary") for name in functions) == 2
    assert_computes_the_plan(case)


def chain(method: str) -> Case:
    """A function of its own behind each of five layers: more than are native."""
    b, y = Builder(), "x"
    for number in range(5):
        kernel = 1 if number % 3 == 2 else 3
        layer = b.conv(f"a{number}", y, 8, 8, kernel)
        y = b.op("Elu", f"l{number}", layer, alpha=0.1 + 0.05 * number)
    return built(b, method, **{b.head(b.conv("last", y, 8, 8), 8): 2})


def rows(method: str) -> Case:
    """A function between two linear layers, behind a clamp: else the first gives floats."""
    b = Builder()
    pooled = b.op("GlobalAveragePool", "pooled", b.conv("a", "x", 8, 8))
    hidden = b.linear("up", b.op("Flatten", "flat", pooled), 8, 24)
    y = FUNCTIONS["Tanh"](b, b.op("Relu", "relu", hidden))
    return built(b, method, **{b.linear("down", y, 24, 8): 2})


@pytest.mark.parametrize("network_of", [chain, rows])
@pytest.mark.parametrize("method", ["scalar", "gain", "ternary", "composite", "binary"])
def test_one_node_computes_what_two_compute(network_of, method: str) -> None:  # type: ignore[no-untyped-def]
    case = network_of(method)
    two = apart(case)
    assert case.plan.functions
    assert len(kinds(two)) == len(kinds(case.model)) + len(case.plan.functions)
    np.testing.assert_array_equal(run(case.model, case)[0], run(two, case)[0])
    np.testing.assert_array_equal(run(inline(case.model), case)[0], run(case.model, case)[0])
    models = [model.SerializeToString() for model in (case.model, two)]
    one, other = (open_model(model, native=True).run(None, case.inputs)[0] for model in models)
    np.testing.assert_array_equal(one, other)
    assert len(np.unique(one)) > 5


def test_a_function_whose_argument_others_read_is_a_node_of_its_own() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    joined = b.op("Concat", "cat", b.op("Elu", "e", a), b.conv("b", a, 8, 8), axis=1)
    case = built(b, **{b.head(b.conv("last", joined, 16, 8), 8): 2})
    assert [node.op_type for node in unary_nodes(case.model)] == ["Unary0"]
    assert_computes_the_plan(case)


def test_a_function_behind_a_clamp() -> None:
    b = Builder()
    relu = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    case = built(b, **{b.head(b.conv("last", b.op("Tanh", "t", relu), 8, 8), 8): 2})
    assert kinds(case.model)[0] == "ScalarConvUnary0"
    assert_computes_the_plan(case)
