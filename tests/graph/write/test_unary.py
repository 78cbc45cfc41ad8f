"""Functions of one value as they are written: a body, and a table that holds its results."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.write.unary import is_gate
from tests.graph.builder import Builder
from tests.graph.coding import session
from tests.graph.unary import FUNCTIONS
from tests.graph.written import Case, assert_computes_the_plan, built


def network(name: str) -> Case:
    """A convolution before and after the function."""
    b = Builder()
    y = FUNCTIONS[name](b, b.conv("a", "x", 8, 8))
    return built(b, **{b.head(b.conv("last", y, 8, 8), 8): 2})


def unary_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type.startswith("Unary")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_file_computes_the_plan(name: str) -> None:
    case = network(name)
    assert len(unary_nodes(case.model)) == 1
    assert_computes_the_plan(case)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_table_holds_what_the_body_gives(name: str) -> None:
    """All 256 codes, up to one where a result lies between two; the body rounds gates too."""
    case = network(name)
    (node,) = unary_nodes(case.model)
    arrays = {t.name: numpy_helper.to_array(t) for t in case.model.graph.initializer}
    one = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.UINT8, [256])],
        [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UINT8, [256])],
        [t for t in case.model.graph.initializer if t.name in node.input],
    )
    model = onnx.helper.make_model(
        one,
        opset_imports=case.model.opset_import,
        functions=[f for f in case.model.functions if f.name == node.op_type],
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
    kinds = [node.op_type for node in unary_nodes(case.model)]
    assert kinds == ["Unary0", "Unary0", "Unary1"]
    functions = [f.name for f in case.model.functions if f.domain == DOMAIN]
    assert sum(name.startswith("Unary") for name in functions) == 2
    assert_computes_the_plan(case)
