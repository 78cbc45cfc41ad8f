"""If, Loop and Scan: folded where decided, else run by ONNX Runtime and written with new names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.nested import all_nodes, captured, nested_graphs
from subbyte.graph.network import Network
from subbyte.graph.write.model import write_network
from tests import tiny
from tests.graph.control_flow import ON_DATA, Array, both_sides, branch, choice, loop, weight
from tests.graph.one_node import compare, run_module, run_ort

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 8)).astype(np.float32)


def assert_same(model: onnx.ModelProto, *feeds: Array) -> Network:
    """Module and written file equal ONNX Runtime on the source."""
    network = prepare(model, "net")
    written = write_network(network, {})
    for x in feeds:
        expected = run_ort(model, [x])
        compare(run_module(model, [x]), expected)
        compare(run_ort(written, [x]), expected)
    return network


def test_if_on_data_runs_either_branch() -> None:
    network = assert_same(both_sides(ON_DATA), abs(X), -abs(X))
    assert [layer.name for layer in network.layers] == ["first", "last"]
    (node,) = (node for node in network.model.graph if node.op_type == "If")
    assert [value.name for value in captured(node)] == ["a"]


@pytest.mark.parametrize("value", [True, False])
def test_if_on_a_constant_is_folded(value: bool) -> None:
    constant = helper.make_node(
        "Constant", [], ["k"], value=numpy_helper.from_array(np.array(value))
    )
    flipped = [constant, helper.make_node("Not", ["k"], ["c"])]
    network = assert_same(both_sides(flipped), X)
    assert "If" not in {node.op_type for node in network.model.graph}
    assert len(network.layers) == (2 if value else 3)


def test_ifs_within_an_if_are_folded_by_rank_and_shape() -> None:
    """What torch.onnx writes for squeeze() of an axis, and for a batch that may be missing."""
    squeeze = branch("s", [helper.make_node("Squeeze", ["x", "one"], ["q"], "squeeze")], "q")
    keep = branch("k", [helper.make_node("Identity", ["x"], ["p"], "keep")], "p")
    outer = branch(
        "outer",
        [
            helper.make_node("Shape", ["x"], ["sh"], "sh"),
            helper.make_node("Gather", ["sh", "at"], ["d"], "d"),
            helper.make_node("Equal", ["d", "unit"], ["e"], "e"),
            choice("e", squeeze, keep, "t"),
            helper.make_node("Abs", ["t"], ["g"], "abs"),
        ],
        "g",
    )
    other = branch("other", [helper.make_node("Neg", ["x"], ["n"], "neg")], "n")
    nodes = [
        helper.make_node("Shape", ["x"], ["r"], "r"),
        helper.make_node("Size", ["r"], ["rank"], "rank"),
        helper.make_node("Equal", ["rank", "three"], ["c"], "c"),
        choice("c", outer, other),
    ]
    constants = {
        "one": np.array([1], np.int64),
        "at": np.array(1, np.int64),
        "unit": np.array(1, np.int64),
        "three": np.array(3, np.int64),
    }
    model = tiny.build(nodes, constants, {"x": ["N", 1, 8]}, {"y": ["N", 8]})
    network = assert_same(model, X[:, None])
    assert [node.op_type for node in network.model.graph] == ["Squeeze", "Abs"]


def test_a_branch_that_gives_what_it_read() -> None:
    """Constants and outer values as outputs of a branch, and an If whose output is the graph's."""
    yes = branch("yes", [], "z", {"z": np.zeros((1, 8), np.float32)})
    no = branch(
        "no",
        [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(X[:1], "k"))],
        "k",
    )
    condition = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
    ]
    nodes = [*condition, choice("c", yes, no)]
    model = tiny.build(nodes, {"zero": np.float32(0)}, {"x": ["N", 8]}, {"y": ["N", 8]})
    assert_same(model, abs(X), -abs(X))


@pytest.mark.parametrize("inner", ["v1", "out"])
def test_loop(inner: str) -> None:
    """Names of the file never hide one another: ``v1`` is what a writer would call a value."""
    network = assert_same(loop(inner), X)
    graph = network.model.graph
    assert [layer.name for layer in network.layers] == ["first", "last"]
    assert "w" in graph.initializers, "a large constant of a subgraph belongs to the main graph"
    assert not any(inner.initializers for inner in nested_graphs(graph))
    names = [value.name for node in all_nodes(graph) for value in node.outputs]
    assert len(names) == len(set(names))


def test_a_value_that_only_a_branch_reads_is_alive_until_then() -> None:
    module = GraphModule(prepare(both_sides(ON_DATA), "net"))
    place = next(i for i, step in enumerate(module.steps) if step.op_type == "If")
    assert "a" in module.live(place)
    assert "a" not in module.live(place + 1)


def test_constants_of_a_folded_branch_that_is_gone_are_gone() -> None:
    yes = branch(
        "yes", [helper.make_node("MatMul", ["x", "v"], ["o"], "m")], "o", {"v": weight(8, 8)}
    )
    no = branch("no", [helper.make_node("MatMul", ["q", "u"], ["o2"], "m")], "o2")
    nodes = [helper.make_node("Gemm", ["x", "u"], ["q"], "unread"), choice("c", yes, no)]
    constants = {"u": weight(8, 8), "c": np.array(True)}
    network = assert_same(tiny.build(nodes, constants, {"x": ["N", 8]}, {"y": ["N", 8]}), X)
    assert [node.op_type for node in network.model.graph] == ["Linear"]
    assert list(network.model.graph.initializers) == [network.layers[0].weight]


def test_nested_operators_of_older_sets_are_converted() -> None:
    mean = helper.make_node("ReduceMean", ["a"], ["o"], "mean", axes=[1], keepdims=1)
    model = both_sides(ON_DATA)
    model.graph.node[1].CopyFrom(helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0))
    yes = next(a for a in model.graph.node[3].attribute if a.name == "then_branch").g
    del yes.node[:]
    yes.node.extend([mean])
    yes.node.extend([helper.make_node("Mul", ["a", "o"], ["p"], "spread")])
    yes.output[0].name = "p"
    model.opset_import[0].version = 13
    model.ir_version = 7
    assert_same(model, abs(X), -abs(X))


def test_constants_of_a_branch_are_folded_there() -> None:
    """What torch.onnx does to the gates of an LSTM: slices of a weight, joined in another order."""
    yes = branch(
        "yes",
        [
            helper.make_node("Slice", ["w", "four", "eight", "axis"], ["upper"], "upper"),
            helper.make_node("Slice", ["w", "zero_", "four", "axis"], ["lower"], "lower"),
            helper.make_node("Concat", ["upper", "lower"], ["turned"], "turned", axis=1),
            helper.make_node("Not", ["no_"], ["inner"], "inner"),
            choice(
                "inner",
                branch("a", [helper.make_node("MatMul", ["a", "turned"], ["p"], "p")], "p"),
                branch("b", [helper.make_node("Neg", ["a"], ["q"], "q")], "q"),
                "o",
            ),
            helper.make_node("Mul", ["o", "two"], ["t"], "t"),
        ],
        "t",
        {
            "w": weight(8, 8),
            "zero_": np.array([0], np.int64),
            "four": np.array([4], np.int64),
            "eight": np.array([8], np.int64),
            "axis": np.array([1], np.int64),
            "no_": np.array(False),
            "two": np.float32(2),
        },
    )
    no = branch("no", [helper.make_node("Abs", ["a"], ["o2"], "abs")], "o2")
    nodes = [helper.make_node("Gemm", ["x", "w1"], ["a"], "first"), *ON_DATA, choice("c", yes, no)]
    constants = {"w1": weight(8, 8), "zero": np.float32(0)}
    model = tiny.build(nodes, constants, {"x": ["N", 8]}, {"y": ["N", 8]})
    graph = assert_same(model, abs(X), -abs(X)).model.graph
    inner = next(each for each in nested_graphs(graph) if each.initializers)
    assert [node.op_type for node in inner] == ["MatMul", "Identity", "Mul"]
    assert len(inner.initializers) == 2


def test_stack_traces_in_branches_are_not_written() -> None:
    model = both_sides(ON_DATA)
    trace = "at line 1 of net.py" * 100
    (choices,) = (node for node in model.graph.node if node.op_type == "If")
    inner = choices.attribute[0].g.node[0]
    inner.doc_string = trace
    inner.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    assert trace.encode() in model.SerializeToString()
    assert trace.encode() not in write_network(prepare(model, "net"), {}).SerializeToString()
