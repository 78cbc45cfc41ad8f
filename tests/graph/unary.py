"""Functions of one value as exporters write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.graph.builder import Builder


def _one(kind: str, **attributes: Any) -> Callable[[Builder, str], str]:
    return lambda b, x: b.op(kind, "y", x, **attributes)


def _silu(b: Builder, x: str) -> str:
    return b.op("Mul", "y", x, b.op("Sigmoid", "s", x))


def _hard_swish(b: Builder, x: str) -> str:
    """x clip(x + 3, 0, 6) / 6."""
    three, zero, six = b.constant("3", 3.0), b.constant("0", 0.0), b.constant("6", 6.0)
    clipped = b.op("Clip", "c", b.op("Add", "sum", x, three), zero, six)
    return b.op("Div", "y", b.op("Mul", "m", x, clipped), six)


def _gated_by_hard_sigmoid(b: Builder, x: str) -> str:
    return b.op("Mul", "y", x, b.op("HardSigmoid", "s", x, alpha=1 / 6, beta=0.5))


def _gelu(b: Builder, x: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    root, one, half = b.constant("root", 2**0.5), b.constant("1", [1.0]), b.constant("half", 0.5)
    bell = b.op("Add", "bell", b.op("Erf", "e", b.op("Div", "d", x, root)), one)
    return b.op("Mul", "y", b.op("Mul", "m", x, bell), half)


def _gelu_by_tanh(b: Builder, x: str) -> str:
    """x (1 + tanh(c (x + 0.044715 x^3))) / 2, the cube as Pow."""
    cube = b.op("Pow", "cube", x, b.constant("3", 3.0))
    inner = b.op("Add", "inner", x, b.op("Mul", "small", cube, b.constant("0.04", 0.044715)))
    scaled = b.op("Mul", "scaled", inner, b.constant("0.8", 0.7978845608))
    tanh = b.op("Tanh", "t", scaled)
    bell = b.op("Add", "bell", tanh, b.constant("1", 1.0))
    return b.op("Mul", "y", x, b.op("Mul", "h", bell, b.constant("half", 0.5)))


def _mish(b: Builder, x: str) -> str:
    return b.op("Mul", "y", x, b.op("Tanh", "t", b.op("Softplus", "s", x)))


def _square(b: Builder, x: str) -> str:
    return b.op("Mul", "y", x, x)


FUNCTIONS: Mapping[str, Callable[[Builder, str], str]] = {
    "silu": _silu,
    "hard swish": _hard_swish,
    "gated by a hard sigmoid": _gated_by_hard_sigmoid,
    "gelu": _gelu,
    "gelu by tanh": _gelu_by_tanh,
    "mish": _mish,
    "square": _square,
    "Sigmoid": _one("Sigmoid"),
    "HardSwish": _one("HardSwish"),
    "HardSigmoid": _one("HardSigmoid"),
    "LeakyRelu": _one("LeakyRelu", alpha=0.1),
    "Elu": _one("Elu", alpha=0.5),
    "Tanh": _one("Tanh"),
}
