"""Layers whose input is binarised: the nodes that training exports, and their kernels.

``subbyte.ResidualBinaryConv``: x[N, C, H, W], W[O, C / group, kh, kw], optional b[O];
attributes of a Conv with all pads given, ``order`` and ``scales``.
``subbyte.ResidualBinaryLinear``: x[..., I], W[O, I], optional b[O]; attribute ``order``.
W is the latent weight: what the node multiplies with is mean |W[o]| * sign(W[o]).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.graph.ops.registry import Form, Kernel, operator
from subbyte.graph.ops.windows import pad_spatial
from subbyte.methods.binary.form import DEFAULT_ORDER, SCALES, Binarisation
from subbyte.methods.binary.residual import binarise_fields, scales_of, sign

DOMAIN = "subbyte"
TRAINED = CONV, LINEAR = ("ResidualBinaryConv", "ResidualBinaryLinear")

# Values of unfolded receptive fields at a time.
_MOST_VALUES = 1 << 23


@operator(CONV, domain=DOMAIN)
def residual_binary_conv(form: Form) -> Kernel:
    """Convolution of the binarised x with the binary weight of the latent W."""
    binarisation = read_binarisation(form, form.attribute("scales", SCALES[0]))
    weight = form.constants.get(1)
    form.attribute("kernel_shape", [])
    if weight is None or weight.ndim != 4:
        form.unsupported("a weight that is no constant [O, C / group, kh, kw]")
    kernel = binary_conv(
        binarisation,
        form.attribute("strides", [1, 1]),
        form.attribute("pads", [0, 0, 0, 0]),
        form.attribute("dilations", [1, 1]),
        form.attribute("group", 1),
    )
    return lambda x, w, b=None: kernel(x, binary_weight(w), b)


@operator(LINEAR, domain=DOMAIN)
def residual_binary_linear(form: Form) -> Kernel:
    """Product of the binarised rows of x and the binary weight of the latent W."""
    kernel = binary_linear(read_binarisation(form, SCALES[0]))
    weight = form.constants.get(1)
    if weight is None or weight.ndim != 2:
        form.unsupported("a weight that is no constant [O, I]")
    return lambda x, w, b=None: kernel(x, binary_weight(w), b)


def read_binarisation(form: Form, scales: str) -> Binarisation:
    """Attribute ``order`` and ``scales``, checked."""
    try:
        return Binarisation(form.attribute("order", DEFAULT_ORDER), scales)  # type: ignore[arg-type]
    except OptionError as error:
        form.unsupported(f"{error.what}: expected {error.expected}, got {error.got}")


def binary_weight(latent: Tensor) -> Tensor:
    """mean |W[o]| * sign(W[o]); of a weight that is binary already, itself."""
    mean = latent.abs().mean(tuple(range(1, latent.ndim)), keepdim=True)
    return mean * sign(latent)


def binary_linear(binarisation: Binarisation) -> Kernel:
    """y = W x~ + b for the rows x of an input, x~ the binarised row."""

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        rows = binarise_fields(x.unsqueeze(-2), binarisation)
        return F.linear(rows.squeeze(-2), w, b)

    return run


def binary_conv(
    binarisation: Binarisation,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Kernel:
    """y = conv(x~, W) + b, where every receptive field of x is binarised by itself."""

    def part(x: Tensor, w: Tensor) -> Tensor:
        """[N, L, O] of a few images."""
        taps, inputs = w.shape[2] * w.shape[3], w.shape[1]
        columns = F.unfold(pad_spatial(x, pads), w.shape[2:], tuple(dilations), 0, tuple(strides))
        fields = columns.unflatten(1, (groups, inputs, taps)).permute(0, 1, 4, 3, 2)
        scales = None
        if binarisation.scales == "image":
            images = x.detach().reshape(len(x), groups, 1, 1, -1)
            scales = scales_of(images, binarisation.order, (-1,))
        fields = binarise_fields(fields, binarisation, scales).flatten(3)
        weight = w.flatten(2).transpose(1, 2).reshape(groups, -1, taps * inputs)
        return (fields @ weight.transpose(1, 2)).transpose(1, 2).flatten(2)

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        size = [
            (length + before + after - dilation * (kernel - 1) - 1) // stride + 1
            for length, before, after, dilation, kernel, stride in zip(
                x.shape[2:], pads[:2], pads[2:], dilations, w.shape[2:], strides, strict=True
            )
        ]
        values = max(1, groups * w[0].numel() * size[0] * size[1])
        rows = torch.cat([part(few, w) for few in x.split(max(1, _MOST_VALUES // values))])
        y = rows.transpose(1, 2).unflatten(2, size)
        return y if b is None else y + b.reshape(-1, 1, 1)

    return run
