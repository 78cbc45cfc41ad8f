"""Residual binarization of order K and its gradients: HORQ, Li et al., ICCV 2017.

    r_0 = x,  beta_k = mean |r_{k-1}|,  H_k = sign(r_{k-1}),  r_k = r_{k-1} - beta_k H_k

    x ~ x - r_K = beta_1 H_1 + ... + beta_K H_K,    sign(0) = +1

Each order takes n beta_k^2 off the squared error of a vector of n values, exactly.

Straight through the sign, and value by value as XNOR-Net has it (the mean is differentiated at the
value itself only), the slope of a term is

    D_k = d(beta_k H_k) / dr_{k-1} = 1/n + beta_k 1[|r_{k-1}| <= 1]

The paper does not give the slope of the sum. Here are two:

    leaf:   sum of D_k                       every residual is taken for x itself
    chain:  1 - (1 - D_1) ... (1 - D_K)      dr_k/dr_{k-1} = 1 - D_k
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from subbyte.errors import OptionError

Backward = Literal["leaf", "chain"]
MAX_ORDER = 8


def check_order(order: int) -> None:
    """Raise `OptionError` unless ``order`` is an integer from 1 to 8."""
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= MAX_ORDER:
        raise OptionError("order of a residual binarization", expected="1 to 8", got=order)


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise `OptionError` unless ``value`` is one of the literals ``choices``."""
    if value not in get_args(choices):
        raise OptionError(name, expected=" or ".join(get_args(choices)), got=value)


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, zeros of both signs included, else -1; not differentiable."""
    return torch.copysign(torch.ones_like(x), x + 0.0)


def expand(
    r: Tensor, dims: tuple[int, ...], order: int, spare: Sequence[Tensor] | None = None
) -> Tensor:
    """beta_1 H_1 + ... + beta_K H_K of r, the vectors along ``dims``.

    ``r`` holds no negative zeros, and is written over. ``spare``: two tensors of its shape to
    write to, the result to the first; new memory costs more than the arithmetic.
    """
    total, term = spare or (torch.empty_like(r), torch.empty_like(r))
    for k in range(order):
        beta = torch.abs(r, out=term).mean(dims, keepdim=True)
        _take_term(r, beta, term if k else total)
        if k:
            total += term
    return total


def expand_with_slope(
    r: Tensor,
    dims: tuple[int, ...],
    order: int,
    backward: Backward,
    spare: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """`expand`, and the slope of the sum, of r's shape. ``spare``: four tensors."""
    total, slope, term, inside = spare or [torch.empty_like(r) for _ in range(4)]
    inverse = 1 / math.prod(r.shape[dim] for dim in dims)
    for k in range(order):
        beta = torch.abs(r, out=term).mean(dims, keepdim=True)
        # As numbers, not bool: on a CPU several times as fast.
        torch.le(term, 1, out=inside)
        own = torch.mul(inside, beta, out=inside if k else slope).add_(inverse)
        if k and backward == "chain":
            slope += own.mul_(torch.sub(1, slope, out=term))
        elif k:
            slope += own
        _take_term(r, beta, term if k else total)
        if k:
            total += term
    return total, slope


def _take_term(r: Tensor, beta: Tensor, term: Tensor) -> None:
    """Put beta H into ``term`` and take it off r."""
    # No residual is -0: IEEE 754 subtracts equal numbers to +0.
    r -= torch.copysign(beta, r, out=term)


class _ResidualBinarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int, backward: Backward) -> Tensor:
        ctx.save_for_backward(x)
        ctx.options = order, backward
        return expand(x + 0.0, (-1,), order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        order, backward = ctx.options
        _, slope = expand_with_slope(x + 0.0, (-1,), order, backward)
        return slope.mul_(gradient), None, None


def residual_binarize(x: Tensor, order: int, backward: Backward = "leaf") -> Tensor:
    """x ~ sum of beta_k H_k, float [..., n], each row with scales of its own.

    Raises:
        OptionError: an order outside 1 to 8, an unknown form of the gradient.
    """
    check_order(order)
    check_choice("backward form", backward, Backward)
    binarized: Tensor = _ResidualBinarize.apply(x, order, backward)  # type: ignore[no-untyped-call]
    return binarized


class _BinarizeWeight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        alpha = weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True)
        return torch.copysign(alpha, weight + 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        dims = tuple(range(1, weight.ndim))
        _, slope = expand_with_slope(weight + 0.0, dims, 1, "leaf")
        return slope.mul_(gradient)


def binarize_weight(weight: Tensor) -> Tensor:
    """alpha[o] sign(W[o]) with alpha[o] = mean |W[o]|, float [O, ...]; XNOR-Net, as in HORQ.

    The gradient is the value-by-value one above for order 1, n the weights of one output.
    """
    binarized: Tensor = _BinarizeWeight.apply(weight)  # type: ignore[no-untyped-call]
    return binarized
