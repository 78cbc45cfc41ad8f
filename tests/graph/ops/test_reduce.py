from __future__ import annotations

import numpy as np
import pytest

from subbyte.graph.ops.reduce import REDUCTIONS
from tests.graph.one_node import check

X = np.abs(np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)) + 0.1
LISTED = [name for name in REDUCTIONS if name != "ReduceSum"]


@pytest.mark.parametrize("op_type", REDUCTIONS)
@pytest.mark.parametrize("axes", [(1,), (0, -1), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduction(op_type: str, axes: tuple[int, ...], keepdims: int) -> None:
    listed = np.array(axes, np.int64)
    check(op_type, [X, listed], constants={1: listed}, keepdims=keepdims)
    check(op_type, [X, listed], keepdims=keepdims)


@pytest.mark.parametrize("op_type", LISTED)
@pytest.mark.parametrize("opset", [11, 13])
def test_reduction_before_18(op_type: str, opset: int) -> None:
    check(op_type, [X], opset, axes=[1])
    check(op_type, [X], opset, keepdims=0)


@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"])
def test_reduction_of_integers(op_type: str) -> None:
    check(op_type, [np.arange(1, 7).reshape(2, 3), np.array([1], np.int64)])


def test_no_axes() -> None:
    check("ReduceMean", [X])
    check("ReduceSum", [X, None], noop_with_empty_axes=1)
    check("ReduceSum", [X])
    check("ReduceMax", [np.array(2.0, np.float32)])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("last", [0, 1])
def test_arg_reduction(op_type: str, axis: int, last: int) -> None:
    x = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.float32)
    check(op_type, [x], axis=axis, select_last_index=last)
    check(op_type, [x], axis=axis, select_last_index=last, keepdims=0)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize(("op_type", "opset"), [("CumSum", 11), ("CumSum", 18), ("CumProd", 26)])
def test_cumulative(exclusive: int, reverse: int, op_type: str, opset: int) -> None:
    axis = np.array(1, np.int64)
    more = {"exclusive": exclusive, "reverse": reverse}
    check(op_type, [X, axis], opset, **more)
    check(op_type, [X, axis], opset, constants={1: axis}, **more)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(largest: int, axis: int) -> None:
    k = np.array([2], np.int64)
    check("TopK", [X, k], largest=largest, axis=axis, outputs=2)
    check("TopK", [X, k], 11, constants={1: k}, largest=largest, axis=axis, outputs=2)
