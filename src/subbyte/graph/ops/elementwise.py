"""Operators on entries: arithmetic, activation functions, comparison, boolean and bit operators."""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator, register_functions


def _divide(x: Tensor, y: Tensor) -> Tensor:
    # Integer division in ONNX runtimes truncates, as in C.
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _mean(*tensors: Tensor) -> Tensor:
    return reduce(torch.add, tensors) / len(tensors)


register_functions(
    {
        "Abs": torch.abs,
        "Acos": torch.acos,
        "Acosh": torch.acosh,
        "Add": torch.add,
        "Asin": torch.asin,
        "Asinh": torch.asinh,
        "Atan": torch.atan,
        "Atanh": torch.atanh,
        "Ceil": torch.ceil,
        "Cos": torch.cos,
        "Cosh": torch.cosh,
        "Div": _divide,
        "Erf": torch.erf,
        "Exp": torch.exp,
        "Floor": torch.floor,
        "Log": torch.log,
        "Max": lambda *tensors: reduce(torch.maximum, tensors),
        "Mean": _mean,
        "Min": lambda *tensors: reduce(torch.minimum, tensors),
        "Mish": F.mish,
        "Mul": torch.mul,
        "Neg": torch.neg,
        "Pow": _power,
        "Reciprocal": torch.reciprocal,
        "Relu": torch.relu,
        "Round": torch.round,
        "Sigmoid": torch.sigmoid,
        "Sign": torch.sign,
        "Sin": torch.sin,
        "Sinh": torch.sinh,
        "Softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "Softsign": F.softsign,
        "Sqrt": torch.sqrt,
        "Sub": torch.sub,
        "Sum": lambda *tensors: reduce(torch.add, tensors),
        "Tan": torch.tan,
        "Tanh": torch.tanh,
        "HardSwish": F.hardswish,
    }
)


@operator("Mod")
def mod(form: NodeView) -> Kernel:
    """Remainder with the sign of the divisor; of the dividend if ``fmod``."""
    return torch.fmod if form.attribute("fmod", 0) else torch.remainder


@operator("Clip")
def clip(form: NodeView) -> Kernel:
    """min(max(x, low), high); either bound may be left out."""
    low, high = form.static(1), form.static(2)
    fixed = (low is not None or not form.has(1)) and (high is not None or not form.has(2))
    bounds = [None if bound is None else bound.item() for bound in (low, high)]

    def clip_fixed(x: Tensor, *_: Tensor | None) -> Tensor:
        return torch.clamp(x, *bounds)

    def clip_tensors(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)

    if fixed:
        return clip_fixed if low is not None or high is not None else lambda x, *_: x
    form.baked -= {1, 2}
    return clip_tensors


@operator("LeakyRelu")
def leaky_relu(form: NodeView) -> Kernel:
    """x if x >= 0 else alpha * x."""
    alpha = form.attribute("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


@operator("PRelu")
def p_relu(form: NodeView) -> Kernel:
    """x if x >= 0 else slope * x; the slope broadcasts to x from the right."""

    def run(x: Tensor, slope: Tensor) -> Tensor:
        channels = (x.shape[1],) + (1,) * (x.ndim - 2) if x.ndim > 1 else None
        if slope.numel() == 1 or slope.shape == channels:
            return F.prelu(x, slope.reshape(-1))
        return torch.where(x < 0, slope * x, x)

    return run


@operator("HardSigmoid")
def hard_sigmoid(form: NodeView) -> Kernel:
    """clip(alpha * x + beta, 0, 1)."""
    alpha, beta = form.attribute("alpha", 0.2), form.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(alpha * x + beta, 0, 1)


@operator("Elu")
def elu(form: NodeView) -> Kernel:
    """x if x >= 0 else alpha * (exp(x) - 1)."""
    alpha = form.attribute("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


@operator("Celu")
def celu(form: NodeView) -> Kernel:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    alpha = form.attribute("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


@operator("Selu")
def selu(form: NodeView) -> Kernel:
    """gamma * (x if x > 0 else alpha * (exp(x) - 1))."""
    alpha = form.attribute("alpha", 1.67326319217681884765625)
    gamma = form.attribute("gamma", 1.05070102214813232421875)
    return lambda x: gamma * F.elu(x, alpha)


@operator("Gelu")
def gelu(form: NodeView) -> Kernel:
    """x * Phi(x), with erf or the tanh approximation."""
    approximate = form.attribute("approximate", "none")
    if approximate not in ("none", "tanh"):
        form.unsupported(f"approximate={approximate}")
    return lambda x: F.gelu(x, approximate=approximate)


@operator("Swish")
def swish(form: NodeView) -> Kernel:
    """x * sigmoid(alpha * x)."""
    alpha = form.attribute("alpha", 1.0)
    return F.silu if alpha == 1.0 else lambda x: x * torch.sigmoid(alpha * x)


@operator("ThresholdedRelu")
def thresholded_relu(form: NodeView) -> Kernel:
    """x if x > alpha else 0."""
    alpha = form.attribute("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


@operator("Shrink")
def shrink(form: NodeView) -> Kernel:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    lambd, bias = form.attribute("lambd", 0.5), form.attribute("bias", 0.0)

    def run(x: Tensor) -> Tensor:
        inner = torch.where(x > lambd, x - bias, torch.zeros_like(x))
        return torch.where(x < -lambd, x + bias, inner)

    return run


@operator("Identity")
def identity(form: NodeView) -> Kernel:
    """x itself."""
    return lambda x: x


@operator("Dropout")
def dropout(form: NodeView) -> Kernel:
    """x itself: inference drops nothing."""
    form.attribute("seed", 0)
    form.attribute("ratio", 0.5)
    training = form.static(2)
    if form.has(2) and (training is None or training.any()):
        form.unsupported("training_mode is not a constant false")
    form.static(1)
    return lambda x, *_: x


register_functions(
    {
        "And": torch.logical_and,
        "BitwiseAnd": torch.bitwise_and,
        "BitwiseNot": torch.bitwise_not,
        "BitwiseOr": torch.bitwise_or,
        "BitwiseXor": torch.bitwise_xor,
        "Equal": torch.eq,
        "Greater": torch.gt,
        "GreaterOrEqual": torch.ge,
        "IsNaN": torch.isnan,
        "Less": torch.lt,
        "LessOrEqual": torch.le,
        "Not": torch.logical_not,
        "Or": torch.logical_or,
        "Where": lambda condition, x, y: torch.where(condition, x, y),
        "Xor": torch.logical_xor,
    }
)


@operator("IsInf")
def is_inf(form: NodeView) -> Kernel:
    """Whether an entry is infinite, of the signs asked for."""
    positive = form.attribute("detect_positive", 1)
    negative = form.attribute("detect_negative", 1)

    def run(x: Tensor) -> Tensor:
        found = torch.zeros_like(x, dtype=torch.bool)
        found = found | torch.isposinf(x) if positive else found
        return found | torch.isneginf(x) if negative else found

    return run


@operator("BitShift")
def bit_shift(form: NodeView) -> Kernel:
    """x shifted by y bits."""
    left = form.attribute("direction", "LEFT") == "LEFT"
    return torch.bitwise_left_shift if left else torch.bitwise_right_shift
