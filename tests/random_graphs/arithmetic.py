"""Recipes of operators that work entry by entry."""

from __future__ import annotations

import numpy as np
import onnx

from tests.random_graphs.pool import Array, Constant, Draft, Hopeless, Operand, Pool
from tests.random_graphs.recipes import recipe

CASTS = (np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8)


def odd_shape(pool: Pool, shape: tuple[int, ...]) -> list[int]:
    """A shape that broadcasts to ``shape``: scalar, [1], one per channel, ones before it."""
    kind = pool.rng.randrange(6)
    if kind == 0:
        return []
    if kind == 1:
        return [1] * pool.choice([1, max(len(shape), 1), len(shape) + 1])
    if kind == 2 and len(shape) > 1:
        return [shape[1]] + [1] * (len(shape) - 2)
    kept = [size if pool.chance(0.5) else 1 for size in shape[1:]]
    return ([1] if pool.chance(0.5) else []) + kept


def beside(pool: Pool, array: Array, positive: bool = False) -> Operand:
    """A second operand: another value that broadcasts, or a constant."""
    if pool.chance(0.4):
        try:
            return pool.pick(array.dtype.kind, lambda other: broadcasts(array, other))
        except Hopeless:
            pass
    shape = odd_shape(pool, array.shape)
    if array.dtype.kind == "b":
        return Constant(pool.integers(0, 2, shape).array.astype(bool))
    if array.dtype.kind in "iu":
        return Constant(pool.integers(1, 5, shape, array.dtype).array)
    return (pool.positive if positive else pool.normal)(shape, array.dtype)


def broadcasts(first: Array, second: Array) -> bool:
    """Whether both have one dtype and shapes that broadcast."""
    if first.dtype != second.dtype:
        return False
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        return False
    return True


@recipe(
    *("Abs", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish"),
    *("Identity", "IsInf", "IsNaN", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid"),
    *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh"),
)
def one_value(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.floats()])


@recipe("Log", "Sqrt")
def of_positive(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("f", lambda a: bool(a.min() > 0))])


@recipe("Acos", "Asin", "Atanh")
def of_fraction(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("f", lambda a: bool(np.abs(a).max() < 1))])


@recipe("Acosh")
def of_more_than_one(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("f", lambda a: bool(a.min() >= 1))])


@recipe("LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Gelu", "Swish", "Shrink")
def activation(pool: Pool, op_type: str) -> Draft:
    names = {"Selu": ["alpha", "gamma"], "Gelu": [], "Shrink": ["lambd", "bias"]}
    given = [name for name in names.get(op_type, ["alpha"]) if pool.chance(0.5)]
    attributes: dict[str, object] = {name: pool.rng.uniform(0.05, 2) for name in given}
    if op_type == "Gelu" and pool.chance(0.5):
        attributes["approximate"] = pool.choice(["none", "tanh"])
    return Draft(op_type, [pool.floats()], attributes)


@recipe("HardSigmoid")
def hard_sigmoid(pool: Pool, op_type: str) -> Draft:
    given = {"alpha": 1 / 6, "beta": 0.5} if pool.chance(0.5) else {"alpha": 0.3}
    return Draft(op_type, [pool.floats()], {} if pool.chance(0.3) else given)


@recipe("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Mean", "Sum")
def arithmetic(pool: Pool, op_type: str) -> Draft:
    floats = op_type in ("Mean", "Sum") or pool.chance(0.85)
    x = pool.floats() if floats else pool.pick("i")
    operands: list[Operand] = [x, beside(pool, x.array, positive=op_type in ("Div", "Mod"))]
    if op_type in ("Min", "Max", "Mean", "Sum"):
        operands += [beside(pool, x.array)] if pool.chance(0.3) else []
        operands = operands[:1] if pool.chance(0.1) else operands
    elif pool.chance(0.3):
        operands.reverse()
    fmod = {"fmod": 1} if op_type == "Mod" and x.array.dtype.kind == "f" else {}
    return Draft(op_type, operands, fmod)


@recipe("Pow")
def power(pool: Pool, op_type: str) -> Draft:
    x = pool.floats()
    return Draft(op_type, [x, Constant(np.array(pool.choice([2, 3, 0.5, 1]), x.array.dtype))])


@recipe("PRelu")
def p_relu(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    return Draft(op_type, [x, pool.positive(odd_shape(pool, x.array.shape), x.array.dtype)])


@recipe("Clip")
def clip(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("fi")
    shape = [1] if pool.chance(0.2) else []
    low = Constant(np.full(shape, -1, x.array.dtype)) if pool.chance(0.6) else None
    high = Constant(np.full(shape, 2, x.array.dtype)) if pool.chance(0.6) else None
    return Draft(op_type, [x, low, high])


@recipe("Dropout")
def dropout(pool: Pool, op_type: str) -> Draft:
    ratio = Constant(np.array(0.3, np.float32)) if pool.chance(0.5) else None
    off = Constant(np.array(False)) if pool.chance(0.5) else None
    return Draft(op_type, [pool.floats(), ratio, off], {"seed": 3} if pool.chance(0.3) else {})


@recipe("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def comparison(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("fi")
    return Draft(op_type, [x, beside(pool, x.array)])


@recipe("And", "Or", "Xor")
def logic(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("b")
    return Draft(op_type, [x, beside(pool, x.array)])


@recipe("Not")
def negation(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("b")])


@recipe("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift")
def bits(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("u" if op_type == "BitShift" else "iu")
    direction = {"direction": pool.choice(["LEFT", "RIGHT"])} if op_type == "BitShift" else {}
    return Draft(op_type, [x, beside(pool, x.array)], direction)


@recipe("BitwiseNot")
def bitwise_not(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("iu")])


@recipe("Where")
def where(pool: Pool, op_type: str) -> Draft:
    condition = pool.pick("b")
    x = pool.pick("f", lambda a: broadcasts(a, condition.array.astype(a.dtype)))
    operands: list[Operand] = [x, beside(pool, x.array)]
    return Draft(op_type, [condition, *(operands if pool.chance(0.5) else operands[::-1])])


@recipe("Cast")
def cast(pool: Pool, op_type: str) -> Draft:
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(pool.choice(CASTS)))
    return Draft(op_type, [pool.pick("fiub")], {"to": to})


@recipe("CastLike")
def cast_like(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("fiub"), pool.pick("fiub")])


@recipe("QuantizeLinear", "DequantizeLinear")
def quantization(pool: Pool, op_type: str) -> Draft:
    kinds = "f" if op_type == "QuantizeLinear" else "iu"
    one_byte = (lambda a: True) if kinds == "f" else (lambda a: a.dtype.itemsize == 1)
    x = pool.pick(kinds, one_byte)
    dtype = pool.choice([np.uint8, np.int8]) if kinds == "f" else x.array.dtype
    if x.array.ndim > 1 and pool.chance(0.4):
        channels = [x.array.shape[1]]
        return Draft(op_type, [x, pool.positive(channels), Constant(np.ones(channels, dtype))])
    return Draft(op_type, [x, pool.positive([]), Constant(np.array(3, dtype))])
