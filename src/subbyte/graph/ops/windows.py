"""Padding arithmetic shared by convolution and pooling.

All pads are in ONNX order: begins of every spatial axis, then ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import NodeView

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def read_auto_pad(form: NodeView) -> str:
    """Attribute ``auto_pad``, checked."""
    auto_pad = form.attribute("auto_pad", "NOTSET")
    if auto_pad not in AUTO_PADS:
        form.unsupported(f"auto_pad={auto_pad}")
    return auto_pad


def split_total(totals: Sequence[int], upper: bool) -> list[int]:
    """Total pads per axis -> ONNX pads; the odd one goes to the end if ``upper``."""
    begins = [total // 2 if upper else total - total // 2 for total in totals]
    return begins + [total - begin for total, begin in zip(totals, begins, strict=True)]


def same_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    upper: bool,
) -> list[int]:
    """Pads with which a window operator gives ceil(size / stride) outputs per axis."""
    totals = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        outputs = -(-size // stride)
        totals.append(max((outputs - 1) * stride + dilation * (k - 1) + 1 - size, 0))
    return split_total(totals, upper)


def is_symmetric(pads: Sequence[int]) -> bool:
    """Whether begins equal ends."""
    rank = len(pads) // 2
    return list(pads[:rank]) == list(pads[rank:])


def torch_pads(pads: Sequence[int]) -> list[int]:
    """ONNX pads -> the argument of `torch.nn.functional.pad` (last axis first, begin, end)."""
    rank = len(pads) // 2
    return [pads[side * rank + axis] for axis in reversed(range(rank)) for side in (0, 1)]


def pad_spatial(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """x with constant pads on its spatial axes (negative pads crop)."""
    if not any(pads):
        return x
    return F.pad(x, torch_pads(pads), value=value)
