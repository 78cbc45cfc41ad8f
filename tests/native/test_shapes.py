"""Shapes that the native operators infer, from what is known of their inputs' shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

import subbyte
from subbyte.graph.functions.layer import TABLE_SHIFT
from subbyte.graph.islands.operators import elementwise, movement, pooling
from tests.native.fuzz_nodes import operators
from tests.native.nodes.coded_layers import conv, near_zero
from tests.native.nodes.island_nodes import POOLS
from tests.native.nodes.operators import (
    OPSET,
    Node,
    assert_close,
    open_model,
    parameters,
    random_codes,
)

Shape = Sequence[int | str | None] | None
# Unknown rank, dimensions without and with names, one number among them, all but the batch.
DECLARED = ("unknown", "free", "named", "partly", "known")
NODES = operators()
PAIR = {"x": (0.02, 128), "r": (0.03, 7), "y": (0.05, 60)}


def exact(node: Node) -> Node:
    """The same, looked up on tables that do not round."""
    if TABLE_SHIFT not in node.attributes:
        return node
    feeds = {name: x if name == "r" else near_zero(x.shape) for name, x in node.feeds.items()}
    return replace(node, feeds=feeds, attributes=node.attributes | {TABLE_SHIFT: 0})


def declared(shape: Sequence[int], how: str, name: str) -> Shape:
    if how == "unknown":
        return None
    if how == "known":
        return ("N", *shape[1:])
    named: list[int | str | None] = [f"{name}_{axis}" for axis in range(len(shape))]
    if how == "free":
        return [None] * len(shape)
    return named if how == "named" else [*named[:-1], shape[-1]]


def with_shapes(node: Node, shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """The node's model, its inputs declared so; the shape of y is not."""
    model = node.model()
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    return model


def inferred(node: Node, **shapes: Shape) -> list[int | str | None]:
    """Of y; None for a dimension that has no name in the model."""
    session = open_model(with_shapes(node, shapes).SerializeToString(), native=True)
    (output,) = session.get_outputs()
    return [None if str(dim).startswith("subbyte_unknown") else dim for dim in output.shape]


def every_declaration(node: Node, rank: int) -> onnx.ModelProto:
    """The node once for every declaration, with inputs of its own and a Transpose behind it,
    which can do with an unknown shape but not with a wrong one."""
    whole = node.model()
    inner, inputs = whole.graph.node[0], list(whole.graph.input)
    del whole.graph.node[:], whole.graph.input[:], whole.graph.output[:]
    for how in DECLARED:
        copy = whole.graph.node.add()
        copy.CopyFrom(inner)
        copy.name, copy.output[0] = how, f"inner_{how}"
        perm = list(range(rank))[::-1]
        whole.graph.node.append(
            helper.make_node("Transpose", [copy.output[0]], [f"y_{how}"], perm=perm)
        )
        whole.graph.output.append(helper.make_tensor_value_info(f"y_{how}", node.output, None))
        for value in inputs:
            name = f"{value.name}_{how}"
            copy.input[list(inner.input).index(value.name)] = name
            kind = value.type.tensor_type.elem_type
            shape = declared(node.feeds[value.name].shape, how, name)
            whole.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    return whole


@pytest.mark.parametrize("name", NODES)
def test_every_operator_takes_every_declaration(name: str) -> None:
    """It loads, gives what the function of the file gives, and takes a batch of none."""
    node = exact(NODES[name])
    portable = open_model(node.model().SerializeToString(), native=False)
    rank = len(portable.get_outputs()[0].shape)
    session = open_model(every_declaration(node, rank).SerializeToString(), native=True)
    none = {name: x[:0] for name, x in node.feeds.items()}
    for feeds in (node.feeds, none):
        (expected,) = portable.run(None, feeds)
        named = {f"{name}_{how}": x for name, x in feeds.items() for how in DECLARED}
        first, *rest = (y.T for y in session.run(None, named))
        for y in rest:
            np.testing.assert_array_equal(y, first)
        assert_as_portable(first, expected)
    # Where all but the batch is known, so is the shape of y.
    assert session.get_outputs()[-1].shape == [*expected.shape[:0:-1], "N"]


def assert_as_portable(native: NDArray[Any], portable: NDArray[Any]) -> None:
    assert (native.shape, native.dtype) == (portable.shape, portable.dtype)
    if native.size and native.dtype == np.uint8:
        # An average of four codes is often half way between two.
        assert_close(native, portable, share=0.15)
    elif native.size:
        assert np.abs(native - portable).max() < 2e-6 * np.abs(portable).max()


PAIRS: dict[str, tuple[Shape, Shape, Shape]] = {
    "equal": (["N", 4, 5], ["N", 4, 5], ["N", 4, 5]),
    "ones": (["N", 1, 5], [1, 4, 1], ["N", 4, 5]),
    "ranks": (["N", 4, "W"], ["W"], ["N", 4, "W"]),
    "longer second": ([5], ["N", None, 5], ["N", None, 5]),
    "unknown beside a number": ([None, "H"], [7, 6], [7, 6]),
    "unknown beside one": (["N", "H"], [1, 1], ["N", "H"]),
    "two names": (["N", 3], ["M", 3], [None, 3]),
    "a name and none": (["N", 3], [None, 3], [None, 3]),
    "no elements": (["N", 0], [1, 1], ["N", 0]),
    "no elements beside unknown": (["N", 0], ["N", "W"], ["N", 0]),
    "unknown rank": (["N", 4], None, []),
    "both unknown": (None, None, []),
    # ONNX Runtime hands a scalar's shape over as it does an unknown one.
    "scalar": (["N", 4], (), []),
    "scalars": ((), (), []),
}


def pairwise(operation: str, **feeds: NDArray[np.uint8]) -> Node:
    function = getattr(elementwise, f"{operation}_function")(OPSET)
    return Node([function], parameters(PAIR), feeds)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("operation", ["sum", "product"])
def test_pairs_broadcast(operation: str, pair: str) -> None:
    """[] is what ONNX Runtime says of an output whose shape it does not know, too."""
    x, r, y = PAIRS[pair]
    node = pairwise(operation, x=np.zeros((1,), np.uint8), r=np.zeros((1,), np.uint8))
    assert inferred(node, x=x, r=r) == y


@pytest.mark.parametrize("operation", ["sum", "product"])
@pytest.mark.parametrize("known", [False, True])
def test_pairs_with_scalars(operation: str, known: bool) -> None:
    """Whether they are declared as scalars, or not at all."""
    one, many = np.asarray(200, np.uint8), random_codes((2, 3), 0, 255)
    for x, r in ((one, many), (many, one), (one, one)):
        node = pairwise(operation, x=x, r=r)
        shapes = {name: array.shape if known else None for name, array in node.feeds.items()}
        model = with_shapes(node, shapes)
        native, portable = (
            open_model(model.SerializeToString(), native).run(None, node.feeds)[0]
            for native in (True, False)
        )
        assert_close(native, portable, share=0.15)


JOINED: dict[str, tuple[Shape, Shape, int, Shape]] = {
    "numbers": (["N", 4, 5], ["N", 7, 5], 1, ["N", 11, 5]),
    "from the end": (["N", 4, 5], ["N", 4, 2], -1, ["N", 4, 7]),
    "one tells the other": ([None, 4, "W"], ["N", 4, 9], 1, ["N", 8, 9]),
    "unknown along the axis": (["N", 4], ["N", "C"], 1, ["N", None]),
    "no elements": (["N", 0], ["N", 3], 1, ["N", 3]),
    "one of unknown rank": (["N", 4, 5], None, 2, ["N", 4, None]),
    "the first of unknown rank": (None, ["N", 4, 5], 2, ["N", 4, None]),
    "both unknown": (None, None, 3, []),
    "axis beyond the rank": (["N", 4], ["N", 4], 2, []),
    "other ranks": (["N", 4], ["N", 4, 5], 1, []),
    "other sizes": ([2, 4], [3, 4], 1, []),
}


@pytest.mark.parametrize("case", JOINED)
def test_joined_shapes(case: str) -> None:
    x0, x1, axis, y = JOINED[case]
    q = dict.fromkeys(("x0", "x1", "y"), (0.02, 1))
    feeds = dict.fromkeys(("x0", "x1"), np.zeros(1, np.uint8))
    node = Node([movement.concat_function(2, OPSET)], parameters(q), feeds, {"axis": axis})
    assert inferred(node, x0=x0, x1=x1) == y


def test_dimensions_without_a_name_have_none_in_a_loaded_model(tmp_path: Path) -> None:
    node = conv("product")
    path = tmp_path / "one.onnx"
    onnx.save(with_shapes(node, {"x": ["N", "H", None, 9]}), path)
    model = subbyte.load(path, engine="native")
    assert model.outputs[0].shape == ("N", None, None, 64)


@pytest.mark.parametrize("window", POOLS)
def test_pooled_sizes(window: str) -> None:
    x = np.zeros((2, 8, 9, 3), np.uint8)
    node = Node([pooling.max_pool_function(OPSET)], {}, {"x": x}, {**POOLS[window]})
    node.attributes["dilations"] = [1, 2]
    _, height, width, _ = node.run(native=False).shape
    assert inferred(node, x=["N", 8, 9, "C"]) == ["N", height, width, "C"]
    assert inferred(node, x=["N", "H", 9, 3]) == ["N", None, width, 3]
    assert inferred(node, x=["N", 0, 9]) == []
    # No window fits: that is the kernel's to say, when it runs.
    assert inferred(node, x=["N", 1, 1, 3])[1:3] == [None if window != "padded" else 1, None]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (["N", 8, 7, 9], ["N", 8, 7, 64]),
        (["N", "H", None, None], ["N", None, None, 64]),
        (["N", 0, 7, 9], ["N", None, 7, 64]),
        (["N", 8, 9], []),
        (None, []),
    ],
)
def test_convolved_sizes(x: Shape, y: Shape) -> None:
    assert inferred(conv("product"), x=x) == y


# Of the binary operators those of the first order: the order changes no shape.
SHAPED = [name for name in NODES if not re.search(r"[2-8](Conv|Linear)", name)]


@pytest.mark.parametrize("name", SHAPED)
def test_rare_shapes_give_what_portable_gives_or_a_named_error(name: str) -> None:
    """Of x: another rank, a scalar, axes of no elements."""
    node = exact(NODES[name])
    unknown = with_shapes(node, dict.fromkeys(node.feeds))
    native, portable = (open_model(unknown.SerializeToString(), each) for each in (True, False))
    first, x = next(iter(node.feeds.items()))
    empty = [np.take(x, [], axis) for axis in range(x.ndim)]
    results = []
    for changed in (x[None], x[0], x.reshape(-1), x.reshape(-1)[0], *empty):
        feeds = node.feeds | {first: np.asarray(changed)}
        results.append(result_or_error(native, feeds))
        if isinstance(results[-1], str):
            assert f"subbyte {node.function.name} node 'layer': " in results[-1]
        # Stock onnxruntime refuses to pool maps of no channels.
        elif results[-1].size > 0 or "Pool" not in name:
            assert_as_portable(results[-1], portable.run(None, feeds)[0])
    assert "Add" in name or not all(isinstance(result, str) for result in results)


def result_or_error(
    session: onnxruntime.InferenceSession, feeds: dict[str, NDArray[Any]]
) -> NDArray[Any] | str:
    try:
        return np.asarray(session.run(None, feeds)[0])
    except Exception as error:
        return str(error)
