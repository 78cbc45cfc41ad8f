from __future__ import annotations

import numpy as np
import pytest

from tests.graph.one_node import check

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
Y = RNG.standard_normal((3, 1)).astype(np.float32)
POSITIVE = np.abs(X) + 0.5
SMALL = np.random.default_rng(0).integers(-3, 3, (2, 3, 4)).astype(np.float32)
SMALL_Y = np.random.default_rng(1).integers(-3, 3, (3, 1)).astype(np.float32)
UNIT = np.tanh(X) * 0.99

UNARY = {
    "Abs": X, "Acos": UNIT, "Acosh": POSITIVE + 1, "Asin": UNIT, "Asinh": X, "Atan": X,
    "Atanh": UNIT, "Ceil": X, "Cos": X, "Cosh": X, "Erf": X, "Exp": X, "Floor": X,
    "HardSwish": 4 * X, "Identity": X, "Log": POSITIVE, "Mish": X, "Neg": X, "Reciprocal": POSITIVE,
    "Relu": X, "Round": np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.4], np.float32), "Sigmoid": X,
    "Sign": X, "Sin": X, "Sinh": X, "Softplus": 30 * X, "Softsign": X, "Sqrt": POSITIVE, "Tan": X,
    "Tanh": X,
}  # fmt: skip


@pytest.mark.parametrize("op_type", UNARY)
def test_unary(op_type: str) -> None:
    check(op_type, [UNARY[op_type]])


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_binary(op_type: str, dtype: type) -> None:
    x, y = (4 * X).astype(dtype), (3 * Y).astype(dtype)
    check(op_type, [x, np.where(y == 0, 2, y).astype(dtype)])


@pytest.mark.parametrize("op_type", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_variadic(op_type: str, count: int) -> None:
    check(op_type, [X, Y, X[0]][:count])


def test_power_keeps_the_type_of_the_base() -> None:
    check("Pow", [POSITIVE, Y])
    check("Pow", [np.arange(5), np.array([2], np.float32)])


@pytest.mark.parametrize("fmod", [0, 1])
def test_mod(fmod: int) -> None:
    check("Mod", [np.arange(-6, 6), np.full(12, 4)], fmod=fmod)
    check("Mod", [X, np.full(1, 0.7, np.float32)], fmod=1)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.5), (-0.5, None), (None, None)])
def test_clip(opset: int, bounds: tuple[float | None, float | None]) -> None:
    values = [None if bound is None else np.array(bound, np.float32) for bound in bounds]
    check("Clip", [X, *values], opset)
    constants = {place + 1: value for place, value in enumerate(values) if value is not None}
    check("Clip", [X, *values], opset, constants)


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("LeakyRelu", {"alpha": 0.2}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        ("Elu", {"alpha": 0.7}),
        ("Celu", {"alpha": 0.7}),
        ("Selu", {}),
        ("ThresholdedRelu", {"alpha": 0.4}),
        ("Shrink", {"lambd": 0.4, "bias": 0.1}),
    ],
)
def test_activation(op_type: str, attributes: dict[str, float]) -> None:
    check(op_type, [4 * X], **attributes)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    check("Gelu", [X], 20, approximate=approximate)


@pytest.mark.parametrize("alpha", [1.0, 0.7])
def test_swish(alpha: float) -> None:
    check("Swish", [X], 24, alpha=alpha)


@pytest.mark.parametrize("shape", [(3, 1), (1,), (3, 4), (4,)])
def test_p_relu(shape: tuple[int, ...]) -> None:
    check("PRelu", [X, RNG.standard_normal(shape).astype(np.float32)])


@pytest.mark.parametrize("opset", [11, 12, 13, 18])
def test_dropout_is_identity(opset: int) -> None:
    check("Dropout", [X], opset)


@pytest.mark.parametrize("op_type", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("opset", [13, 18])
def test_comparison(op_type: str, opset: int) -> None:
    check(op_type, [SMALL, SMALL_Y], opset)


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_boolean(op_type: str) -> None:
    check(op_type, [SMALL > 0, SMALL_Y > 0])


@pytest.mark.parametrize("op_type", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bitwise(op_type: str) -> None:
    check(op_type, [SMALL.astype(np.int32), SMALL_Y.astype(np.int32)])


def test_not() -> None:
    check("Not", [SMALL > 0])
    check("BitwiseNot", [SMALL.astype(np.int32)])


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bit_shift(direction: str) -> None:
    x = RNG.integers(0, 60, (4, 5)).astype(np.uint8)
    check("BitShift", [x, np.full((4, 5), 2, np.uint8)], direction=direction)


def test_where() -> None:
    check("Where", [SMALL > 0, SMALL, SMALL_Y])


def test_not_finite() -> None:
    x = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    check("IsNaN", [x])
    check("IsInf", [x])
    check("IsInf", [x], detect_negative=0)
    check("IsInf", [x], detect_positive=0)
