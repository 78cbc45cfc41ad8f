"""Pooling over windows and over whole spatial extents.

Output sizes follow ONNX: floor or ceil((size + pads - dilation * (k - 1) - 1) / stride) + 1,
where with ``ceil_mode`` a window that would start in the end padding is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.conv import CONV
from subbyte.graph.ops.registry import Kernel, NodeView, operator
from subbyte.graph.ops.windows import is_symmetric, pad_spatial, read_auto_pad, same_pads

MAX_POOL: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOL: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}


@dataclass(frozen=True)
class Window:
    """The geometry of a pooling node."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    auto_pad: str
    ceil: bool

    @property
    def plain(self) -> bool:
        """Whether torch's own pooling has the same output size and padding."""
        inside = all(2 * pad <= k for pad, k in zip(self.pads, self.kernel, strict=False))
        same = self.auto_pad.startswith("SAME")
        return not self.ceil and not same and is_symmetric(self.pads) and inside

    def resolve(self, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
        """(pads, extra end pads that only ``ceil_mode`` needs) for spatial ``sizes``."""
        rank, pads = len(self.kernel), self.pads
        if self.auto_pad.startswith("SAME"):
            # ONNX Runtime pads as if there were no dilation, unlike the standard.
            upper = self.auto_pad == "SAME_UPPER"
            pads = same_pads(sizes, self.kernel, self.strides, [1] * rank, upper)
        extra = [0] * 2 * rank
        for axis in range(rank) if self.ceil else ():
            span = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            padded, stride = sizes[axis] + pads[axis] + pads[rank + axis], self.strides[axis]
            outputs = -(-(padded - span) // stride) + 1
            if (outputs - 1) * stride >= sizes[axis] + pads[axis]:
                outputs -= 1
            extra[rank + axis] = max((outputs - 1) * stride + span - padded, 0)
        return pads, extra


def _window(form: NodeView) -> Window:
    kernel: list[int] = list(form.optional("kernel_shape") or ())
    rank = len(kernel)
    if rank not in MAX_POOL:
        form.unsupported(f"{rank} spatial axes")
    auto_pad = read_auto_pad(form)
    pads = list(form.attribute("pads", (0,) * 2 * rank))
    return Window(
        kernel=kernel,
        strides=list(form.attribute("strides", (1,) * rank)),
        dilations=list(form.attribute("dilations", (1,) * rank)),
        pads=pads if auto_pad == "NOTSET" else [0] * 2 * rank,
        auto_pad=auto_pad,
        ceil=bool(form.attribute("ceil_mode", 0)),
    )


@operator("MaxPool")
def max_pool(form: NodeView) -> Kernel:
    """The largest entry of each window."""
    window = _window(form)
    form.attribute("storage_order", 0)  # concerns the indices output, which is not covered
    pool, rank = MAX_POOL[len(window.kernel)], len(window.kernel)
    kernel, strides, dilations = window.kernel, window.strides, window.dilations
    if window.plain:
        padding = window.pads[:rank]
        return lambda x: pool(x, kernel, strides, padding, dilations)

    def run(x: Tensor) -> Tensor:
        pads, extra = window.resolve(x.shape[2:])
        total = [pad + more for pad, more in zip(pads, extra, strict=True)]
        lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        return pool(pad_spatial(x, total, lowest), kernel, strides, 0, dilations)

    return run


def _window_sum(x: Tensor, window: Window) -> Tensor:
    """Sum of each window of x[N, C, ...], already padded."""
    rank = len(window.kernel)
    ones = torch.ones([1, 1, *window.kernel], dtype=x.dtype, device=x.device)
    flat = x.reshape(-1, 1, *x.shape[2:])
    y = CONV[rank](flat, ones, None, window.strides, 0, window.dilations)
    return y.reshape(*x.shape[:2], *y.shape[2:])


@operator("AveragePool")
def average_pool(form: NodeView) -> Kernel:
    """The mean of each window; ``count_include_pad`` counts the (explicit) pads too."""
    window = _window(form)
    count_pads = bool(form.attribute("count_include_pad", 0))
    rank = len(window.kernel)
    pool, kernel, strides = AVERAGE_POOL[rank], window.kernel, window.strides
    if window.plain and set(window.dilations) == {1}:
        padding = window.pads[:rank]
        return lambda x: pool(x, kernel, strides, padding, False, count_pads)

    def run(x: Tensor) -> Tensor:
        pads, extra = window.resolve(x.shape[2:])
        total = [pad + more for pad, more in zip(pads, extra, strict=True)]
        counted = torch.ones_like(x[:1, :1])
        counted = pad_spatial(counted, pads, 1.0 if count_pads else 0.0)
        count = _window_sum(pad_spatial(counted, extra), window)
        return _window_sum(pad_spatial(x, total), window) / count

    return run


@operator("LpPool")
def lp_pool(form: NodeView) -> Kernel:
    """(sum |x|^p)^(1/p) over each window."""
    window = _window(form)
    p = form.attribute("p", 2)

    def run(x: Tensor) -> Tensor:
        pads, extra = window.resolve(x.shape[2:])
        total = [pad + more for pad, more in zip(pads, extra, strict=True)]
        return _window_sum(pad_spatial(x.abs() ** p, total), window) ** (1 / p)

    return run


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


@operator("GlobalAveragePool")
def global_average_pool(form: NodeView) -> Kernel:
    """The mean over all spatial axes, which stay with size 1."""
    return lambda x: x.mean(_spatial(x), keepdim=True)


@operator("GlobalMaxPool")
def global_max_pool(form: NodeView) -> Kernel:
    """The maximum over all spatial axes, which stay with size 1."""
    return lambda x: x.amax(_spatial(x), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(form: NodeView) -> Kernel:
    """(sum |x|^p)^(1/p) over all spatial axes, which stay with size 1."""
    p = form.attribute("p", 2)
    return lambda x: (x.abs() ** p).sum(_spatial(x), keepdim=True) ** (1 / p)
