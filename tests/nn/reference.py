"""What a residual binary convolution is, by the formulas alone: loops over positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subbyte.nn import ResidualBinaryConv2d

Array = NDArray[Any]


@dataclass(frozen=True)
class Field:
    """One receptive field of one group: values of x by order, and where it comes from."""

    image: int
    group: int
    row: int
    column: int
    terms: Array  # scale_k * H_k, [K, C / groups, kh, kw]
    slope: Array  # of the sum of the terms; meaningful for scales = column


def sign(r: Array) -> Array:
    return np.where(r >= 0, 1.0, -1.0)


def expand(r: Array, order: int) -> tuple[Array, Array]:
    """beta_1 .. beta_K of one vector, and H_1 .. H_K."""
    betas, signs = [], []
    for _ in range(order):
        betas.append(np.abs(r).mean())
        signs.append(sign(r))
        r = r - betas[-1] * signs[-1]
    return np.array(betas), np.array(signs)


def slope(r: Array, order: int, backward: str) -> Array:
    """d(sum of beta_k H_k) / dx, value by value."""
    terms = []
    for beta, signs in zip(*expand(r, order), strict=True):
        terms.append(1 / r.size + beta * (np.abs(r) <= 1))
        r = r - beta * signs
    if backward == "leaf":
        return np.sum(terms, axis=0)
    return 1 - np.prod([1 - term for term in terms], axis=0)


def fields(layer: ResidualBinaryConv2d, x: Array) -> Iterator[Field]:
    """All receptive fields of x [N, C, H, W]."""
    window = layer.window
    top, left, bottom, right = window.pads
    grouped = x.reshape(len(x), window.groups, -1, *x.shape[2:]).astype(np.float64)
    for image, group in np.ndindex(grouped.shape[:2]):
        whole = grouped[image, group]
        padded = np.pad(whole, ((0, 0), (top, bottom), (left, right)))
        spans = [(layer.kernel_size[i] - 1) * window.dilation[i] + 1 for i in (0, 1)]
        rows = (padded.shape[1] - spans[0]) // window.stride[0] + 1
        columns = (padded.shape[2] - spans[1]) // window.stride[1] + 1
        for row, column in np.ndindex(rows, columns):
            up, across = row * window.stride[0], column * window.stride[1]
            field = padded[
                :,
                up : up + spans[0] : window.dilation[0],
                across : across + spans[1] : window.dilation[1],
            ]
            terms = _terms(field, whole, window.order, window.scales)
            gradient = slope(field, window.order, window.backward)
            yield Field(image, group, row, column, terms, gradient)


def _terms(field: Array, whole: Array, order: int, scales: str) -> Array:
    if scales == "column":
        betas, signs = expand(field, order)
        return betas[:, None, None, None] * signs
    if scales == "image":
        terms, r = [], field
        for beta in expand(whole, order)[0]:
            terms.append(beta * sign(r))
            r = r - terms[-1]
        return np.array(terms)
    taps = [field[:, i, j] for i, j in np.ndindex(field.shape[1:])]
    expanded = [expand(tap, order) for tap in taps]
    scale = np.mean([betas for betas, _ in expanded], axis=0)
    signs = np.stack([signs for _, signs in expanded], axis=-1)
    return scale[:, None, None, None] * signs.reshape(order, *field.shape)


def forward(layer: ResidualBinaryConv2d, x: Array, y_shape: tuple[int, ...]) -> Array:
    """y [N, O, ...]."""
    weight = layer.weight.detach().double().numpy()
    alpha = np.abs(weight).mean((1, 2, 3))
    y = np.zeros(y_shape)
    outputs = len(weight) // layer.window.groups
    for field in fields(layer, x):
        for o in range(field.group * outputs, (field.group + 1) * outputs):
            product = alpha[o] * (sign(weight[o]) * field.terms.sum(0)).sum()
            y[field.image, o, field.row, field.column] = product
    return y if layer.bias is None else y + layer.bias.detach().numpy()[:, None, None]


def assert_close(found: Array, expected: Array, tolerance: float) -> None:
    """All values but one in a hundred: a residual next to 0 may get another sign by rounding."""
    assert found.shape == expected.shape
    assert np.mean(np.abs(found - expected) <= tolerance) > 0.99


def layers(scales: str, order: int) -> list[ResidualBinaryConv2d]:
    """Layers of several geometries."""
    torch.manual_seed(0)
    made: list[Any] = [
        ((4, 6, 3), {"padding": 1}),
        ((4, 6, (3, 2)), {"stride": (2, 1), "dilation": (1, 2), "groups": 2, "padding": (1, 2)}),
        ((15, 3, 2), {"padding": "same", "groups": 3, "bias": False}),
        ((5, 4, 1), {"stride": 2}),
    ]
    return [
        ResidualBinaryConv2d(*sizes, **options, order=order, scales=scales)
        for sizes, options in made
    ]
