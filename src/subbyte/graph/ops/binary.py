"""Layers whose input is binarized: the nodes that training exports, and their kernels.

``subbyte.ResidualBinaryConv``: x[N, C, H, W], W[O, C / group, kh, kw], optional b[O];
attributes of a Conv with all pads given, ``order`` and ``scales``.
``subbyte.ResidualBinaryLinear``: x[..., I], W[O, I], optional b[O]; attribute ``order``.
W is the latent weight: the node multiplies with mean |W[o]| * sign(W[o]).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.graph.ops.registry import Kernel, NodeView, operator
from subbyte.methods.binarization import DEFAULT_ORDER, SCALES, Binarization, scales_named
from subbyte.nn.binarize import binarize_weight, residual_binarize
from subbyte.nn.functional import Window, residual_binary_conv2d

DOMAIN = "subbyte"
TRAINED = CONV, LINEAR = ("ResidualBinaryConv", "ResidualBinaryLinear")


@operator(CONV, domain=DOMAIN)
def residual_binary_conv(form: NodeView) -> Kernel:
    """Convolution of the binarized x with the binary weight of the latent W."""
    binarization = read_binarization(form, form.attribute("scales", SCALES[0]))
    weight = form.constants.get(1)
    if weight is None or weight.ndim != 4:
        form.unsupported("a weight that is no constant [O, C / group, kh, kw]")
    window = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": [1, 1],
        "pads": [0, 0, 0, 0],
        "dilations": [1, 1],
    }
    for name, usual in window.items():
        window[name] = _window(form, name, usual)
    group = form.attribute("group", 1)
    if not isinstance(group, int) or group < 1 or len(weight) % group:
        form.unsupported(f"group={group}: expected a divisor of {len(weight)} outputs")
    kernel = binary_conv(
        binarization, window["strides"], window["pads"], window["dilations"], group
    )
    return lambda x, w, b=None: kernel(x, binarize_weight(w), b)


@operator(LINEAR, domain=DOMAIN)
def residual_binary_linear(form: NodeView) -> Kernel:
    """Product of the binarized rows of x and the binary weight of the latent W."""
    kernel = binary_linear(read_binarization(form, SCALES[0]))
    weight = form.constants.get(1)
    if weight is None or weight.ndim != 2:
        form.unsupported("a weight that is no constant [O, I]")
    return lambda x, w, b=None: kernel(x, binarize_weight(w), b)


def _window(form: NodeView, name: str, usual: list[int]) -> list[int]:
    """A list attribute, checked: as long as ``usual``, which a kernel's shape has to be."""
    value: object = form.attribute(name, usual)
    found = list(value) if isinstance(value, Sequence) else []
    least = 0 if name == "pads" else 1
    fits = len(found) == len(usual) and all(isinstance(n, int) and n >= least for n in found)
    if not fits or (name == "kernel_shape" and found != usual):
        form.unsupported(f"{name}={value}: expected such as {usual}")
    return found


def read_binarization(form: NodeView, scales: str) -> Binarization:
    """Attribute ``order`` and ``scales``, checked."""
    try:
        return Binarization(form.attribute("order", DEFAULT_ORDER), scales_named(scales))
    except OptionError as error:
        form.unsupported(f"{error.what}: expected {error.expected}, got {error.got}")


def binary_linear(binarization: Binarization) -> Kernel:
    """y = W x~ + b for the rows x of an input, x~ the binarized row; W as it is."""

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return F.linear(residual_binarize(x, binarization.order), w, b)

    return run


def binary_conv(
    binarization: Binarization,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Kernel:
    """y = conv(x~, W) + b, where every receptive field of x is binarized; W as it is."""
    top, left, bottom, right = pads
    window = Window(
        (strides[0], strides[1]),
        (top, left, bottom, right),
        (dilations[0], dilations[1]),
        groups,
        binarization.order,
        binarization.scales,
    )

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return residual_binary_conv2d(x, w, b, window)

    return run
