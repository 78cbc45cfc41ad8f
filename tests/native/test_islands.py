"""Native nodes without weights against the function bodies, in stock onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import FunctionProto

from subbyte.graph.islands.operators import elementwise, movement, pooling
from tests.native.nodes.island_nodes import POOLS, Q_UNARY, unary
from tests.native.nodes.operators import (
    OPSET,
    Node,
    assert_close,
    open_model,
    parameters,
    random_codes,
)

PAIRS = {
    "same": ((2, 5, 6, 70), (2, 5, 6, 70)),
    "per channel": ((2, 5, 6, 70), (2, 1, 1, 70)),
    "per pixel": ((2, 5, 6, 1), (2, 5, 6, 70)),
    "scalar": ((3, 4), ()),
    "rank": ((5, 1, 7), (3, 1, 6, 1)),
    "large": ((1, 64, 64, 48), (1, 64, 64, 48)),
}


def node(function: FunctionProto, feeds: dict[str, Any], q: dict[str, Any], **attributes: Any):  # type: ignore[no-untyped-def]
    return Node([function], parameters(q), feeds, attributes)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("operation", ["sum", "product"])
def test_pairwise(operation: str, pair: str) -> None:
    x, r = (random_codes(shape, 0, 255, seed) for seed, shape in enumerate(PAIRS[pair]))
    scale = 0.05 if operation == "sum" else 0.03
    q = {"x": (0.02, 128), "r": (0.03, 7), "y": (scale, 60)}
    made = node(getattr(elementwise, f"{operation}_function")(OPSET), {"x": x, "r": r}, q)
    expected = made.run(native=False)
    assert len(np.unique(expected)) > 10 or expected.size < 50
    assert_close(made.run(native=True), expected)
    np.testing.assert_array_equal(made.run(True, threads=2), made.run(True))


def test_shapes_that_do_not_broadcast() -> None:
    feeds = {"x": np.zeros((2, 3), np.uint8), "r": np.zeros((2, 4), np.uint8)}
    q = {"x": (0.02, 128), "r": (0.03, 7), "y": (0.05, 60)}
    made = node(elementwise.sum_function(OPSET), feeds, q)
    with pytest.raises(Exception, match=r"Add node 'layer': shapes of x and r.*\[2, 3\] and"):
        made.run(native=True)


@pytest.mark.parametrize("shape", [(), (7,), (2, 5, 6, 70), (1, 64, 64, 48)])
@pytest.mark.parametrize("number", [0, 63, 64])
def test_unary(shape: tuple[int, ...], number: int) -> None:
    """Number 64 has no operator: there, too, the file's own function serves."""
    function, table = unary(number)
    made = node(function, {"x": random_codes(shape, 0, 255)}, Q_UNARY)
    made.constants["table"] = table
    expected = made.run(native=False)
    assert_close(made.run(native=True), expected)
    np.testing.assert_array_equal(made.run(True, threads=2), made.run(True))


def test_unary_of_nothing() -> None:
    function, table = unary()
    made = node(function, {"x": np.zeros((0, 3), np.uint8)}, Q_UNARY)
    made.constants["table"] = table
    assert made.run(native=True).shape == (0, 3)


def test_table_of_another_size() -> None:
    function, table = unary()
    made = node(function, {"x": np.zeros((2, 3), np.uint8)}, Q_UNARY)
    made.constants["table"] = table[:255]
    with pytest.raises(Exception, match=r"Unary0 node 'layer': table: expected \[256\]"):
        made.run(native=True)


@pytest.mark.parametrize("shape", [(2, 5, 6, 72), (1, 28, 28, 116), (1, 1, 1, 8), (0, 3, 3, 8)])
@pytest.mark.parametrize("groups", [2, 4])
def test_shuffle(shape: tuple[int, ...], groups: int) -> None:
    feeds = {"x": random_codes(shape, 0, 255)}
    sizes = {"shape": [0, 0, 0, groups, shape[3] // groups], "joined": [0, 0, 0, shape[3]]}
    made = node(movement.shuffle_function(OPSET), feeds, {}, **sizes)
    expected = made.run(native=False)
    np.testing.assert_array_equal(made.run(native=True), expected)
    np.testing.assert_array_equal(made.run(True, threads=2), expected)


def test_shuffle_of_other_channels() -> None:
    feeds = {"x": np.zeros((1, 2, 2, 7), np.uint8)}
    sizes = {"shape": [0, 0, 0, 2, 4], "joined": [0, 0, 0, 8]}
    made = node(movement.shuffle_function(OPSET), feeds, {}, **sizes)
    with pytest.raises(Exception, match=r"Shuffle node 'layer': x: expected \[N, H, W, 8\]"):
        made.run(native=True)
    made.attributes["shape"] = [0, 0, 2, 4, 0]
    with pytest.raises(Exception, match="attribute shape: expected"):
        made.run(native=True)


@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize("count", [2, 5])
def test_concat(count: int, axis: int) -> None:
    shapes = [[3, 4, 5] for _ in range(count)]
    for index, shape in enumerate(shapes):
        shape[axis] = index
    feeds = {f"x{i}": random_codes(shape, 0, 255, i) for i, shape in enumerate(shapes)}
    q = {f"x{i}": (0.02 + 0.01 * (i // 2), 100 + i // 2) for i in range(count)}
    q["y"] = (0.02, 100)
    made = node(movement.concat_function(count, OPSET), feeds, q, axis=axis)
    assert_close(made.run(native=True), made.run(native=False))


def test_concat_of_other_shapes() -> None:
    feeds = {"x0": np.zeros((2, 3), np.uint8), "x1": np.zeros((3, 3), np.uint8)}
    q = {"x0": (0.02, 1), "x1": (0.02, 1), "y": (0.02, 1)}
    made = node(movement.concat_function(2, OPSET), feeds, q, axis=1)
    with pytest.raises(Exception, match="Concat2 node 'layer': inputs: expected shapes"):
        made.run(native=True)
    made.attributes["axis"] = 2
    with pytest.raises(Exception, match="attribute axis: expected within the rank"):
        made.run(native=True)


@pytest.mark.parametrize("window", POOLS)
@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]])
def test_max_pool(window: str, dilations: list[int]) -> None:
    feeds = {"x": random_codes((2, 8, 9, 70), 0, 255)}
    function = pooling.max_pool_function(OPSET)
    made = node(function, feeds, {}, **POOLS[window], dilations=dilations)
    np.testing.assert_array_equal(made.run(native=True), made.run(native=False))


# Padding counted together with ceil_mode is computed in several ways; files do not hold it.
AVERAGES = [("plain", 0), ("padded", 0), ("ceil", 0), ("plain", 1), ("padded", 1)]


@pytest.mark.parametrize(("window", "counted"), AVERAGES)
def test_average_pool(window: str, counted: int) -> None:
    feeds = {"x": random_codes((2, 8, 9, 70), 0, 255)}
    q = {"x": (0.02, 128), "y": (0.012, 120)}
    function = pooling.average_pool_function(OPSET)
    made = node(function, feeds, q, **POOLS[window], count_include_pad=counted)
    assert_close(made.run(native=True), made.run(native=False))


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 40)])
def test_global_average_pool(size: tuple[int, int]) -> None:
    feeds = {"x": random_codes((2, *size, 130), 0, 255)}
    q = {"x": (0.02, 3), "y": (0.012, 9)}
    made = node(pooling.global_average_pool_function(OPSET), feeds, q)
    assert_close(made.run(native=True), made.run(native=False))


def test_window_larger_than_x() -> None:
    feeds = {"x": np.zeros((1, 2, 2, 3), np.uint8)}
    window = {**POOLS["plain"], "kernel_shape": [3, 3], "dilations": [1, 1]}
    made = node(pooling.max_pool_function(OPSET), feeds, {}, **window)
    with pytest.raises(Exception, match="MaxPool node 'layer': window"):
        made.run(native=True)


def test_shapes_are_inferred() -> None:
    """onnxruntime knows the output's shape where the input's is known."""
    feeds = {"x": np.zeros((1, 8, 9, 3), np.uint8)}
    made = node(pooling.max_pool_function(OPSET), feeds, {}, **POOLS["plain"], dilations=[1, 1])
    model = made.model()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_param, dims[3].dim_value = "batch", 3
    session = open_model(model.SerializeToString(), native=True)
    shape = session.get_outputs()[0].shape
    assert (shape[0], shape[3]) == ("batch", 3)
