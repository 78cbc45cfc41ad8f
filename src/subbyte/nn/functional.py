"""Convolution of residually binarized inputs: which values share a scale, and the gradients.

``scales`` names the vectors of `subbyte.nn.binarize`:

- ``column``, the paper's: the receptive field of one output position, zeros of the padding
  included. From order 2 on signs differ by column too, so patches are taken (a few images at a
  time, and again in the backward pass, so that they stay in the cache and take no memory). Their
  rows are runs of memory where x has its channels last (``torch.channels_last``).
- ``pixel``: the channels of one pixel; the scale of a receptive field is the mean over its pixels,
  0 in the padding. At order 1 this is ``column``, and XNOR-Net.
- ``image``: a whole image; the padding is binarized with the image's scales.

Signs that all receptive fields share make K plain convolutions. Their gradients are ours, in the
form of `subbyte.nn.binarize`: with m values to a mean, s_k the scale of an output position and T
the transposed convolution,

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
    expand,
    expand_with_slope,
    sign,
)

Scales = Literal["column", "pixel", "image"]

_CHUNK = {"cpu": 1 << 18}
_LARGE_CHUNK = 1 << 27
"""Values of patches worked on at a time: on a CPU 1 MiB, about a core's cache."""
_MANY_OUTPUTS = 64


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
        """Receptive fields [N, out height, out width, kh, kw, C] of [N, H, W, C], a view."""
        fields = padded
        for axis in (0, 1):
            span = (kernel[axis] - 1) * self.dilation[axis] + 1
            fields = fields.unfold(1 + axis, span, self.stride[axis])
        return fields.movedim(3, -1)[:, :, :, :: self.dilation[0], :: self.dilation[1]]


def residual_binary_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: Window
) -> Tensor:
    """Convolve the binarized x [N, C, H, W] with weight [O, C / groups, kh, kw] -> [N, O, ...].

    ``weight`` is taken as it is: pass it through `subbyte.nn.binarize.binarize_weight`. Under
    autocast all is float32: signs of residuals are differences of close numbers.
    """
    device = x.device.type
    function = _ColumnConv if _is_by_column(x, weight, window) else _SharedConv
    if torch.is_autocast_enabled(device):
        x, weight = x.float(), weight.float()
    with torch.autocast(device, enabled=False):
        y: Tensor = function.apply(x, weight, window)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias[:, None, None]


def _is_by_column(x: Tensor, weight: Tensor, window: Window) -> bool:
    """Whether to take patches. At order 1 they give the same result as shared signs.

    They save one product of the backward pass; on a CPU that is more than they cost from about 64
    outputs on.
    """
    many = x.device.type == "cpu" and len(weight) // window.groups >= _MANY_OUTPUTS
    return window.scales == "column" and (window.order > 1 or many)


class _ColumnConv(torch.autograd.Function):
    """Channels come last in here: a row of a patch is then one run of memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        padded, matrix = _pad_channels_last(x, window), _matrix(weight, window)
        sizes = window.view(padded[:1], _kernel(weight)).shape[1:3]
        y = x.new_empty(len(x), *sizes, window.groups, matrix.shape[1])
        for part, columns, spare in _columns(padded, weight, window, 2):
            products = expand(columns, (-1,), window.order, spare) @ matrix.mT
            y[part] = products.unflatten(1, (-1, *sizes)).movedim(0, -2)
        channels_first = y.flatten(3).permute(0, 3, 1, 2)
        return channels_first if _is_channels_last(x) else channels_first.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        window: Window = ctx.window
        padded, matrix = _pad_channels_last(x, window), _matrix(weight, window)
        to_padded, to_matrix = torch.zeros_like(padded), torch.zeros_like(matrix)
        to_y = gradient.permute(0, 2, 3, 1).unflatten(3, matrix.shape[:2])
        for part, columns, spare in _columns(padded, weight, window, 4):
            outer = to_y[part].flatten(0, 2).transpose(0, 1)
            terms, slope = expand_with_slope(columns, (-1,), window.order, window.backward, spare)
            if ctx.needs_input_grad[1]:
                to_matrix.baddbmm_(outer.mT, terms)
            if ctx.needs_input_grad[0]:
                slope *= torch.bmm(outer, matrix, out=columns)
                _add_columns(to_padded[part], slope, weight, window)
        to_weight = to_matrix.view(len(weight), *weight.shape[2:], -1).permute(0, 3, 1, 2)
        return window.crop(to_padded.permute(0, 3, 1, 2)), to_weight, None


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _pad_channels_last(x: Tensor, window: Window) -> Tensor:
    """x padded, without negative zeros [N, H, W, C]."""
    top, left, bottom, right = window.pads
    n, channels, height, width = x.shape
    padded = x.new_zeros(n, top + height + bottom, left + width + right, channels)
    inner = padded[:, top : top + height, left : left + width]
    torch.add(x.permute(0, 2, 3, 1), 0.0, out=inner)
    return padded


def _matrix(weight: Tensor, window: Window) -> Tensor:
    """Weights in the order of `_columns` [groups, O / groups, n]."""
    return weight.permute(0, 2, 3, 1).reshape(window.groups, -1, weight[0].numel())


def _kernel(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2], weight.shape[3]


def _columns(
    padded: Tensor, weight: Tensor, window: Window, spare: int
) -> Iterator[tuple[slice, Tensor, list[Tensor]]]:
    """Images, a few at a time, their patches [groups, images * positions, n], and as much memory
    ``spare`` times; all of it is written over by the next ones.
    """
    values = window.view(padded[:1], _kernel(weight)).numel()
    step = max(1, _CHUNK.get(padded.device.type, _LARGE_CHUNK) // max(1, values))
    memory = padded.new_empty(1 + spare, min(step, len(padded)) * values)
    for start in range(0, len(padded), step):
        part = slice(start, start + step)
        fields = window.view(padded[part], _kernel(weight)).unflatten(-1, (window.groups, -1))
        by_group = fields.movedim(-2, 0)
        columns, *rest = memory[:, : fields.numel()]
        columns.view(by_group.shape).copy_(by_group)
        shape = window.groups, -1, weight[0].numel()
        yield part, columns.view(shape), [values.view(shape) for values in rest]


def _add_columns(to: Tensor, columns: Tensor, weight: Tensor, window: Window) -> None:
    """Add patches to the pixels of ``to`` that they were taken from."""
    fields = window.view(to, _kernel(weight)).unflatten(-1, (window.groups, -1))
    taps = columns.view(fields.movedim(-2, 0).shape).movedim(0, -2)
    # Receptive fields overlap, the pixels of one tap do not.
    for i, j in itertools.product(*map(range, weight.shape[2:])):
        fields[:, :, :, i, j] += taps[:, :, :, i, j]


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
