from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.graph.one_node import check

RNG = np.random.default_rng(0)
X = RNG.integers(-3, 3, (2, 3, 4)).astype(np.float32)
Y = RNG.integers(-3, 3, (3, 1)).astype(np.float32)


@pytest.mark.parametrize("op_type", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("opset", [13, 18])
def test_comparison(op_type: str, opset: int) -> None:
    check(op_type, [X, Y], opset)


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_boolean(op_type: str) -> None:
    check(op_type, [X > 0, Y > 0])


@pytest.mark.parametrize("op_type", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bitwise(op_type: str) -> None:
    check(op_type, [X.astype(np.int32), Y.astype(np.int32)])


def test_not() -> None:
    check("Not", [X > 0])
    check("BitwiseNot", [X.astype(np.int32)])


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bit_shift(direction: str) -> None:
    x = RNG.integers(0, 60, (4, 5)).astype(np.uint8)
    check("BitShift", [x, np.full((4, 5), 2, np.uint8)], direction=direction)


def test_where() -> None:
    check("Where", [X > 0, X, Y])


def test_not_finite() -> None:
    x = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    check("IsNaN", [x])
    check("IsInf", [x])
    check("IsInf", [x], detect_negative=0)
    check("IsInf", [x], detect_positive=0)


@pytest.mark.parametrize("source", [np.float32, np.float64, np.int64, np.bool_, np.uint8])
@pytest.mark.parametrize("opset", [13, 19, 21])
def test_cast(source: type, opset: int) -> None:
    x = np.abs(2.7 * X).astype(source)
    for target in ("FLOAT", "DOUBLE", "INT32", "INT64", "BOOL", "FLOAT16"):
        check("Cast", [x], opset, to=getattr(TensorProto, target))


def test_cast_like() -> None:
    check("CastLike", [X, np.zeros(1, np.int64)])
