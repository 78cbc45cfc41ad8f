from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from subbyte.nn import ResidualBinaryConv2d, binarize_weight
from subbyte.nn.functional import Window, residual_binary_conv2d
from tests.nn import reference


@pytest.mark.parametrize("scales", ["column", "pixel", "image"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_forward_is_the_formula(scales: str, order: int) -> None:
    for layer in reference.layers(scales, order):
        x = torch.randn(2, layer.in_channels, 7, 6)
        y = layer(x).detach().numpy()
        reference.assert_close(y, reference.forward(layer, x.numpy(), y.shape), 2e-5)


def test_order_1_is_xnor_net() -> None:
    """XNOR-Net as published: K = (channel mean of |x|) * box, y = alpha K (sign x * sign w)."""
    x, weight = torch.randn(2, 8, 6, 5), torch.randn(3, 8, 3, 3)
    box = functional.conv2d(x.abs().mean(1, keepdim=True), torch.full((1, 1, 3, 3), 1 / 9))
    alpha = weight.abs().mean((1, 2, 3))[:, None, None]
    expected = alpha * box * functional.conv2d(x.sign(), weight.sign())
    for scales in ("column", "pixel"):
        window = Window(order=1, scales=scales)  # type: ignore[arg-type]
        y = residual_binary_conv2d(x, binarize_weight(weight), None, window)
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)


def test_columns_and_pixels_have_the_same_gradients_at_order_1() -> None:
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    # So many outputs that columns are taken.
    weight = torch.randn(128, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    geometry = (2, 1), (1, 0, 1, 2), (1, 2), 2, 1
    columns, pixels = (
        residual_binary_conv2d(x, weight, None, Window(*geometry, scales))  # type: ignore[arg-type]
        for scales in ("column", "pixel")
    )
    dy = torch.randn_like(columns)
    torch.testing.assert_close(columns, pixels)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, (x, weight), dy) for y in (columns, pixels))
    )


@pytest.mark.parametrize("order", [1, 2])
def test_memory_has_the_order_of_the_input(order: int) -> None:
    layer = ResidualBinaryConv2d(6, 4, 3, padding=1, groups=2, order=order)
    x = torch.randn(2, 6, 5, 7)
    last = x.to(memory_format=torch.channels_last)
    assert layer(x).is_contiguous()
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x), layer(last))


def test_image_scales_are_one_scale_an_image() -> None:
    x, weight = torch.randn(3, 4, 5, 5), torch.randn(6, 4, 3, 3)
    beta = x.abs().mean((1, 2, 3), keepdim=True)
    y = residual_binary_conv2d(x, weight, None, Window(order=1, scales="image"))
    torch.testing.assert_close(y, beta * functional.conv2d(x.sign(), weight), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backward", ["leaf", "chain"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_column_gradients_are_the_formula(backward: str, order: int) -> None:
    """dx sums, over the receptive fields, W~^T dy times the slope; dW~ = dy (sum of terms)^T."""
    for layer in reference.layers("column", order):
        window = Window(**{**vars(layer.window), "backward": backward})
        object.__setattr__(layer, "window", window)
        x = torch.randn(2, layer.in_channels, 5, 6, requires_grad=True)
        weight = torch.randn_like(layer.weight, requires_grad=True)
        y = residual_binary_conv2d(x, weight, None, window)
        dy = torch.randn_like(y)
        y.backward(dy)
        to_x, to_weight = _column_gradients(layer, x, weight, dy)
        np.testing.assert_allclose(_gradient(x), to_x, atol=3e-5)
        np.testing.assert_allclose(_gradient(weight), to_weight, atol=3e-5)


def _gradient(x: torch.Tensor) -> Any:
    assert x.grad is not None
    return x.grad.numpy()


def _column_gradients(
    layer: ResidualBinaryConv2d, x: torch.Tensor, weight: torch.Tensor, dy: torch.Tensor
) -> tuple[Any, Any]:
    window, w = layer.window, weight.detach().double().numpy()
    top, left, bottom, right = window.pads
    n, c, h, width = x.shape
    to_x = np.zeros((n, c, h + top + bottom, width + left + right))
    to_weight = np.zeros(w.shape)
    outputs, channels = len(w) // window.groups, w.shape[1]
    for field in reference.fields(layer, x.detach().numpy()):
        own = slice(field.group * outputs, (field.group + 1) * outputs)
        outer = dy[field.image, own, field.row, field.column].double().numpy()
        to_weight[own] += outer[:, None, None, None] * field.terms.sum(0)
        to_field = np.tensordot(outer, w[own], 1) * field.slope
        for i, j in np.ndindex(w.shape[2:]):
            row = field.row * window.stride[0] + i * window.dilation[0]
            column = field.column * window.stride[1] + j * window.dilation[1]
            inputs = slice(field.group * channels, (field.group + 1) * channels)
            to_x[field.image, inputs, row, column] += to_field[:, i, j]
    return to_x[:, :, top : top + h, left : left + width], to_weight


@pytest.mark.parametrize("scales", ["pixel", "image"])
@pytest.mark.parametrize("backward", ["leaf", "chain"])
@pytest.mark.parametrize("order", [1, 3])
def test_shared_gradients_are_the_formula(scales: Any, backward: Any, order: int) -> None:
    """By autograd: value * slope has the gradient that the formula gives the value."""
    window = Window((2, 1), (1, 0, 1, 2), (1, 2), 2, order, scales, backward)
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    y = residual_binary_conv2d(x, weight, None, window)
    dy = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, weight), dy)
    value = _shared_by_autograd(x, weight, window)
    torch.testing.assert_close(value, y)
    torch.testing.assert_close(found, torch.autograd.grad(value, (x, weight), dy))


def _shared_by_autograd(x: torch.Tensor, weight: torch.Tensor, window: Window) -> torch.Tensor:
    """The forward, each term's gradient put in by hand as value + slope * (x - x.detach())."""
    image, groups = window.scales == "image", window.groups
    fixed, through = x.detach(), torch.ones_like(x)
    moved = x - fixed
    own = fixed[0].numel() // groups if image else fixed.shape[1] // groups
    count = own if image else weight[0].numel()
    padded = window.pad(fixed).unflatten(1, (groups, -1))
    y = torch.zeros((), dtype=x.dtype)
    for _ in range(window.order):
        inner = window.crop(padded)
        beta = inner.abs().mean((2, 3, 4), keepdim=True) if image else padded.abs().mean(2, True)
        signs = torch.where(padded >= 0, 1.0, -1.0).to(x.dtype)
        inside = (inner.flatten(1, 2).abs() <= 1).to(x.dtype)
        if image:
            scale = beta[:, :, 0].repeat_interleave(len(weight) // groups, 1)
        else:
            ones = torch.full((groups, 1, *weight.shape[2:]), 1 / weight[0, 0].numel()).to(x.dtype)
            scale = functional.conv2d(
                beta[:, :, 0], ones, None, window.stride, 0, window.dilation, groups
            ).repeat_interleave(len(weight) // groups, 1)
        differentiable = signs.flatten(1, 2) + window.pad(through * inside * moved)
        y = y + scale * _conv(differentiable, weight, window)
        y = y + _conv(window.pad(through * moved / count), weight, window)
        if window.backward == "chain":
            wide = beta.expand_as(padded)
            through = through * (1 - 1 / own - inside * window.crop(wide).flatten(1, 2))
        padded = padded - beta * signs
    return y


def _conv(x: torch.Tensor, weight: torch.Tensor, window: Window) -> torch.Tensor:
    return functional.conv2d(x, weight, None, window.stride, 0, window.dilation, window.groups)


def test_many_images_are_worked_on_in_parts() -> None:
    layer = ResidualBinaryConv2d(64, 8, 3, padding=1, order=2)
    x = torch.randn(5, 64, 16, 16)
    together = layer(x)
    torch.testing.assert_close(together, torch.cat([layer(image[None]) for image in x]))


@pytest.mark.parametrize("order", [1, 2])
def test_autocast_leaves_signs_and_scales_in_float32(order: int) -> None:
    torch.manual_seed(0)
    layer = ResidualBinaryConv2d(8, 4, 3, order=order)
    x = torch.randn(2, 8, 6, 6).bfloat16().float()
    exact = layer(x)
    (expected,) = torch.autograd.grad(exact.sum(), layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.bfloat16())
    (found,) = torch.autograd.grad(y.float().sum(), layer.weight)
    torch.testing.assert_close(y.float(), exact)
    torch.testing.assert_close(found, expected)
