"""Convolution, transposed convolution and the prepared linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import PREPARED, Kernel, NodeView, operator
from subbyte.graph.ops.windows import (
    is_symmetric,
    pad_spatial,
    read_auto_pad,
    same_pads,
    split_total,
)

CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def _rank(form: NodeView) -> int | None:
    """Number of spatial axes, as far as attributes or a constant weight say it."""
    for name in ("kernel_shape", "strides", "dilations"):
        listed = form.optional(name)
        if listed is not None:
            return len(listed)
    weight = form.constants.get(1)
    return None if weight is None else weight.ndim - 2


def _check_rank(form: NodeView, table: dict[int, Callable[..., Tensor]]) -> None:
    rank = _rank(form)
    if rank is not None and rank not in table:
        form.unsupported(f"{rank} spatial axes")


def _full(values: Sequence[int] | None, rank: int) -> list[int]:
    return list(values) if values is not None else [1] * rank


@operator("Conv")
def conv(form: NodeView) -> Kernel:
    """Convolution of x[N, C, ...] with W[O, C / group, ...] and optional b[O]."""
    _check_rank(form, CONV)
    auto_pad = read_auto_pad(form)
    group = form.attribute("group", 1)
    strides, dilations = form.optional("strides"), form.optional("dilations")
    pads = form.optional("pads")

    def run_fixed(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        function = CONV[w.ndim - 2]
        return function(x, w, b, strides or 1, padding, dilations or 1, group)

    def run_padded(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        x = pad_spatial(x, pads)
        return CONV[w.ndim - 2](x, w, b, strides or 1, 0, dilations or 1, group)

    def run_same(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        rank = w.ndim - 2
        x = pad_spatial(
            x,
            same_pads(
                x.shape[2:],
                w.shape[2:],
                _full(strides, rank),
                _full(dilations, rank),
                auto_pad == "SAME_UPPER",
            ),
        )
        return CONV[rank](x, w, b, strides or 1, 0, dilations or 1, group)

    if auto_pad.startswith("SAME"):
        return run_same
    if auto_pad == "VALID" or pads is None:
        pads = ()
    padding: int | Sequence[int] = pads[: len(pads) // 2] if any(pads) else 0
    return run_fixed if is_symmetric(pads) else run_padded


@operator("ConvTranspose")
def conv_transpose(form: NodeView) -> Kernel:
    """Transposed convolution of x[N, C, ...] with W[C, O / group, ...] and optional b[O]."""
    _check_rank(form, CONV_TRANSPOSE)
    auto_pad = read_auto_pad(form)
    group = form.attribute("group", 1)
    stride_list, dilation_list = form.optional("strides"), form.optional("dilations")
    fixed_pads = form.optional("pads")
    extra, output_shape = form.optional("output_padding"), form.optional("output_shape")

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        rank = w.ndim - 2
        strides, dilations = _full(stride_list, rank), _full(dilation_list, rank)
        more = list(extra) if extra is not None else [0] * rank
        pads = fixed_pads if fixed_pads is not None else [0] * 2 * rank
        if output_shape is not None or auto_pad.startswith("SAME"):
            natural = [
                stride * (size - 1) + over + (k - 1) * dilation + 1
                for stride, size, over, k, dilation in zip(
                    strides, x.shape[2:], more, w.shape[2:], dilations, strict=True
                )
            ]
            wanted = output_shape or [
                size * stride for size, stride in zip(x.shape[2:], strides, strict=True)
            ]
            upper, extend = auto_pad == "SAME_UPPER", output_shape is not None
            pads, more = transposed_pads(natural, wanted[-rank:], more, upper, extend)
        elif auto_pad == "VALID":
            pads = [0] * 2 * rank
        return _transpose(x, w, b, strides, pads, more, group, dilations)

    return run


def transposed_pads(
    natural: Sequence[int], wanted: Sequence[int], more: Sequence[int], upper: bool, extend: bool
) -> tuple[list[int], list[int]]:
    """Pads and output padding that bring the natural output size to the wanted one.

    An explicit ``output_shape`` is always reached (``extend``); with SAME alone, runtimes
    leave an output that is too small (kernel < stride) as it is.
    """
    spare = [size - want for size, want in zip(natural, wanted, strict=True)]
    pads = split_total([max(entry, 0) for entry in spare], upper)
    if not extend:
        return pads, list(more)
    return pads, [over + max(-entry, 0) for over, entry in zip(more, spare, strict=True)]


def _transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    strides: Sequence[int],
    pads: Sequence[int],
    more: Sequence[int],
    group: int,
    dilations: Sequence[int],
) -> Tensor:
    rank = w.ndim - 2
    function = CONV_TRANSPOSE[rank]
    allowed = all(
        over < max(stride, dilation)
        for over, stride, dilation in zip(more, strides, dilations, strict=True)
    )
    if is_symmetric(pads) and allowed:
        return function(x, w, b, strides, pads[:rank], more, group, dilations)
    # torch knows neither uneven pads nor a larger output padding: crop or extend the full output.
    full = function(x, w, None, strides, 0, 0, group, dilations)
    ends = [over - end for over, end in zip(more, pads[rank:], strict=True)]
    y = pad_spatial(full, [-begin for begin in pads[:rank]] + ends)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


@operator("Linear", domain=PREPARED)
def linear(form: NodeView) -> Kernel:
    """y[..., o] = sum_i W[o, i] x[..., i] + b[o]; with axis -2 the same along that axis."""
    axis = form.attribute("axis", -1)
    if axis == -1:
        return F.linear
    if axis != -2:
        form.unsupported(f"axis={axis}")

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        y = torch.matmul(w, x)
        return y if b is None else y + b.reshape(-1, 1)

    return run
