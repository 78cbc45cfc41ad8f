"""Convolution of residually binarized inputs: which values share a scale, and the gradients.

``scales`` says what a vector of `subbyte.nn.binarize` is:

- ``column``, the paper's: the receptive field of one output position, zeros of the padding
  included. From order 2 on signs differ by column too, so patches are taken (a few images at a
  time, and again in the backward pass, so that they stay in the cache and take no memory).
- ``pixel``: the channels of one pixel; the scale of a receptive field is the mean over its
  pixels, 0 in the padding. At order 1 this is ``column``, and XNOR-Net.
- ``image``: a whole image; the padding is binarized with the image's scales.

Signs that all receptive fields share make K plain convolutions. Their gradients are ours, in the
form of `subbyte.nn.binarize`: with m values to a mean, s_k the scale of an output position and
T the transposed convolution,

    dx = sum over k of P_k * (T(dy) / m + 1[|r_{k-1}| <= 1] T(s_k dy))

P_k = 1 (leaf), or the product over j < k of 1 - D_j (chain), D_j with a vector's own scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from subbyte.nn.binarize import (
    Backward,
    check_choice,
    check_order,
    sign,
    subtract_orders,
    subtract_orders_with_slope,
)

Scales = Literal["column", "pixel", "image"]

_CHUNK = {"cpu": 1 << 18}
_LARGE_CHUNK = 1 << 27
"""Values of patches worked on at a time: on a CPU 1 MiB, about a core's cache."""


@dataclass(frozen=True)
class Window:
    """Geometry and options of a convolution; ``pads``: top, left, bottom, right."""

    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    order: int = 2
    scales: Scales = "column"
    backward: Backward = "leaf"

    def __post_init__(self) -> None:
        check_order(self.order)
        check_choice("scales", self.scales, Scales)
        check_choice("backward form", self.backward, Backward)

    def pad(self, x: Tensor) -> Tensor:
        """x with its padding of zeros, and without negative zeros."""
        top, left, bottom, right = self.pads
        return functional.pad(x + 0.0, (left, right, top, bottom))

    def crop(self, padded: Tensor) -> Tensor:
        """The view without the padding."""
        top, left, bottom, right = self.pads
        height, width = padded.shape[-2:]
        return padded[..., top : height - bottom, left : width - right]

    def view(self, padded: Tensor, kernel: tuple[int, int]) -> Tensor:
        """Receptive fields [N, C, out height, out width, kh, kw], a view."""
        fields = padded
        for axis in (0, 1):
            span = (kernel[axis] - 1) * self.dilation[axis] + 1
            fields = fields.unfold(2 + axis, span, self.stride[axis])
        return fields[..., :: self.dilation[0], :: self.dilation[1]]


def residual_binary_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    """Convolve the binarized x [N, C, H, W] with weight [O, C / groups, kh, kw] -> [N, O, ...].

    ``weight`` is taken as it is: pass it through `subbyte.nn.binarize.binarize_weight`. Under
    autocast all is float32: signs of residuals are differences of close numbers.
    """
    own_signs = window.scales == "column" and window.order > 1
    function = _ColumnConv if own_signs else _SharedConv
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x, weight = x.float(), weight.float()
    with torch.autocast(device, enabled=False):
        y: Tensor = function.apply(x, weight, window)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias[:, None, None]


class _ColumnConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        padded = window.pad(x)
        matrix = weight.reshape(window.groups, -1, weight[0].numel())
        size = window.view(padded[:1], _kernel(weight)).shape[2:4]
        y = x.new_empty(len(x), len(weight), *size)
        for part, columns in _columns(padded, weight, window):
            r = columns.clone()
            subtract_orders(r, (1,), window.order)
            products = matrix @ columns.sub_(r)
            y[part] = products.view(len(weight), -1, *size).transpose(0, 1)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        window: Window = ctx.window
        padded = window.pad(x)
        matrix = weight.reshape(window.groups, -1, weight[0].numel())
        to_padded, to_matrix = torch.zeros_like(padded), torch.zeros_like(matrix)
        for part, columns in _columns(padded, weight, window):
            r = columns.clone()
            slope = subtract_orders_with_slope(r, (1,), window.order, window.backward)
            outer = gradient[part].transpose(0, 1).reshape(window.groups, matrix.shape[1], -1)
            if ctx.needs_input_grad[1]:
                to_matrix += outer @ columns.sub_(r).mT
            if ctx.needs_input_grad[0]:
                _add_columns(to_padded[part], slope.mul_(matrix.mT @ outer), weight, window)
        return window.crop(to_padded), to_matrix.view_as(weight), None


def _kernel(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2], weight.shape[3]


def _columns(padded: Tensor, weight: Tensor, window: Window) -> Iterator[tuple[slice, Tensor]]:
    """Images, a few at a time, and their patches [groups, n, images * positions]."""
    values = window.view(padded[:1], _kernel(weight)).numel()
    step = max(1, _CHUNK.get(padded.device.type, _LARGE_CHUNK) // max(1, values))
    for start in range(0, len(padded), step):
        part = slice(start, start + step)
        fields = window.view(padded[part], _kernel(weight)).permute(1, 4, 5, 0, 2, 3)
        columns = torch.empty(fields.shape, dtype=padded.dtype, device=padded.device)
        columns.copy_(fields)
        yield part, columns.view(window.groups, weight[0].numel(), -1)


def _add_columns(to: Tensor, columns: Tensor, weight: Tensor, window: Window) -> None:
    """Add patches to the pixels of ``to`` that they were taken from."""
    fields = window.view(to, _kernel(weight))
    taps = columns.view(to.shape[1], *weight.shape[2:], len(to), *fields.shape[2:4])
    # Receptive fields overlap, the pixels of one tap do not.
    for i, j in itertools.product(*map(range, weight.shape[2:])):
        fields[..., i, j] += taps[:, i, j].transpose(0, 1)


class _SharedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        terms = (
            _convolve(signs, weight, window).mul_(_field_scale(beta, weight, window))
            for signs, _, beta in _orders(x, window)
        )
        y = next(terms)
        for term in terms:
            y += term
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        window: Window = ctx.window
        own = x.shape[1] // window.groups * (x[0, 0].numel() if window.scales == "image" else 1)
        count = own if window.scales == "image" else weight[0].numel()
        to_weight = torch.zeros_like(weight)
        through = torch.ones_like(x)
        constant = to_x = torch.zeros_like(x)
        for k, (signs, inside, beta) in enumerate(_orders(x, window)):
            scaled = gradient * _field_scale(beta, weight, window)
            to_signs, part, _ = _convolve_backward(scaled, signs, weight, window)
            to_weight += part
            if k == 0:
                to_mean, _, _ = _convolve_backward(gradient, signs, weight, window, weights=False)
                constant = window.crop(to_mean) / count
            inside = window.crop(inside)
            to_x = to_x + through * (constant + inside * window.crop(to_signs))
            if window.backward == "chain":
                slope = _per_channel(beta, x.shape[1])
                if window.scales != "image":
                    slope = window.crop(slope)
                through = through * (1 - 1 / own - inside * slope)
        return to_x, to_weight, None


def _orders(x: Tensor, window: Window) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each order the padded signs, |r| <= 1, and beta [N, groups, height, width or 1]."""
    r = window.pad(x)
    grouped = r.unflatten(1, (window.groups, -1))
    for _ in range(window.order):
        magnitude = grouped.abs()
        if window.scales == "image":
            beta = window.crop(magnitude).mean((2, 3, 4), keepdim=True)
        else:
            beta = magnitude.mean(2, keepdim=True)
        signs = sign(grouped)
        yield signs.flatten(1, 2), (magnitude <= 1).flatten(1, 2), beta[:, :, 0]
        grouped = grouped - beta * signs


def _per_channel(values: Tensor, channels: int) -> Tensor:
    """[N, groups, ...] -> [N, channels, ...]."""
    return values.repeat_interleave(channels // values.shape[1], 1)


def _field_scale(beta: Tensor, weight: Tensor, window: Window) -> Tensor:
    """The scales of output positions [N, O, ...]."""
    if window.scales != "image":
        mean = beta.new_full((1, 1, *_kernel(weight)), 1 / weight[0, 0].numel())
        flat = beta.flatten(0, 1)[:, None]
        flat = functional.conv2d(flat, mean, stride=window.stride, dilation=window.dilation)
        beta = flat[:, 0].unflatten(0, beta.shape[:2])
    return beta if window.groups == 1 else _per_channel(beta, len(weight))


def _convolve(signs: Tensor, weight: Tensor, window: Window) -> Tensor:
    return functional.conv2d(signs, weight, None, window.stride, 0, window.dilation, window.groups)


def _convolve_backward(
    gradient: Tensor, signs: Tensor, weight: Tensor, window: Window, weights: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to signs and weight."""
    return torch.ops.aten.convolution_backward(
        gradient,
        signs,
        weight,
        None,
        window.stride,
        (0, 0),
        window.dilation,
        False,
        (0, 0),
        window.groups,
        (True, weights, False),
    )
