"""Operators that arrange entries: reshape, transpose, slice, concat, pad, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator


@operator("Reshape", lengths=(1,))
def reshape(form: NodeView) -> Kernel:
    """x in a new shape: 0 copies the size of that axis (unless allowzero), -1 is inferred."""
    allow_zero = bool(form.attribute("allowzero", 0))
    read = form.integers(1)

    def run(x: Tensor, shape_tensor: Tensor | None) -> Tensor:
        shape = read(shape_tensor) or []
        if not allow_zero and 0 in shape:
            shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
        return x.reshape(shape)

    return run


@operator("Flatten")
def flatten(form: NodeView) -> Kernel:
    """x as a matrix: axes before ``axis`` make rows, the others columns."""
    axis = form.attribute("axis", 1)

    def run(x: Tensor) -> Tensor:
        rows = 1
        for size in x.shape[:axis]:
            rows *= size
        return x.reshape(rows, x.numel() // rows if rows else 0)

    return run


@operator("Transpose")
def transpose(form: NodeView) -> Kernel:
    """x with permuted axes; reversed without ``perm``."""
    perm = form.optional("perm")
    if perm is not None:
        return lambda x: x.permute(perm)
    return lambda x: x.permute(tuple(reversed(range(x.ndim))))


@operator("Squeeze", lengths=(1,))
def squeeze(form: NodeView) -> Kernel:
    """x without the given axes of size 1 (all such axes if none are given)."""
    listed, read = form.optional("axes"), form.integers(1)

    def run(x: Tensor, axes_tensor: Tensor | None = None) -> Tensor:
        axes = listed if listed is not None else read(axes_tensor)
        return x.squeeze() if axes is None else x.squeeze(tuple(axes))

    return run


@operator("Unsqueeze", lengths=(1,))
def unsqueeze(form: NodeView) -> Kernel:
    """x with new axes of size 1; ``axes`` count in the result."""
    listed, read = form.optional("axes"), form.integers(1)

    def run(x: Tensor, axes_tensor: Tensor | None = None) -> Tensor:
        axes = listed if listed is not None else read(axes_tensor) or []
        rank = x.ndim + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return run


@operator("Concat")
def concat(form: NodeView) -> Kernel:
    """Tensors joined along ``axis``."""
    axis = form.attribute("axis", 0)
    return lambda *tensors: torch.cat(tensors, axis)


@operator("Split", outputs=1 << 16, lengths=(1,))
def split(form: NodeView) -> Kernel:
    """x cut along ``axis`` into given sizes, or into equal parts (the last may be smaller)."""
    axis = form.attribute("axis", 0)
    form.attribute("num_outputs", 0)
    listed, read, parts = form.optional("split"), form.integers(1), len(form.outputs)

    def run(x: Tensor, sizes_tensor: Tensor | None = None) -> tuple[Tensor, ...]:
        sizes = listed if listed is not None else read(sizes_tensor)
        if sizes is None:
            size = -(-x.shape[axis] // parts)
            sizes = [size] * (parts - 1) + [x.shape[axis] - size * (parts - 1)]
        return torch.split(x, list(sizes), axis)

    return run


@operator("Slice", lengths=(1, 2, 3, 4))
def slice_(form: NodeView) -> Kernel:
    """x[start:end:step] along the given axes, with Python's rules for negative numbers."""
    readers = [form.integers(position) for position in range(1, 5)]

    def run(x: Tensor, *tensors: Tensor | None) -> Tensor:
        padded = (*tensors, None, None)
        lists = [read(tensor) for read, tensor in zip(readers, padded[:4], strict=True)]
        starts, ends = lists[0] or [], lists[1] or []
        axes = lists[2] or list(range(len(starts)))
        steps = lists[3] or [1] * len(starts)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            x = slice_axis(x, axis, start, end, step)
        return x

    return run


def slice_axis(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    """x[start:end:step] along one axis."""
    size = x.shape[axis]
    start, end = (bound + size if bound < 0 else bound for bound in (start, end))
    if step > 0:
        first, last = min(max(start, 0), size), min(max(end, 0), size)
        before: tuple[Any, ...] = (slice(None),) * (axis % x.ndim)
        return x[(*before, slice(first, max(last, first), step))]
    # Unlike Python's, a start before the beginning is the first entry here.
    first, last = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    picked = torch.arange(first, min(last, first), step, device=x.device)
    return x.index_select(axis, picked)


@operator("Expand", lengths=(1,))
def expand(form: NodeView) -> Kernel:
    """x broadcast with the given shape, both ways."""
    read = form.integers(1)

    def run(x: Tensor, shape_tensor: Tensor | None) -> Tensor:
        return x.expand(torch.broadcast_shapes(x.shape, read(shape_tensor) or []))

    return run


@operator("Tile", lengths=(1,))
def tile(form: NodeView) -> Kernel:
    """x repeated along each axis."""
    read = form.integers(1)
    return lambda x, repeats: x.repeat(read(repeats))


def pad_axis(x: Tensor, axis: int, begin: int, end: int, mode: str) -> Tensor:
    """x with pads along one axis, taken from x as ``mode`` says (reflect, edge, wrap)."""
    size = x.shape[axis]
    position = torch.arange(-begin, size + end, device=x.device)
    if mode == "edge":
        position = position.clamp(0, size - 1)
    elif mode == "wrap" or size == 1:
        position = position % size
    else:
        period = 2 * (size - 1)
        position = (position % period - (size - 1)).abs().neg() + size - 1
    return x.index_select(axis, position)


@operator("Pad", lengths=(1, 3))
def pad(form: NodeView) -> Kernel:
    """x with pads at begin and end of axes; negative pads crop."""
    mode = form.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        form.unsupported(f"mode={mode}")
    read_pads, fill, read_axes = form.integers(1), form.static(2), form.integers(3)
    fixed_fill = None if fill is None else fill.item()

    def run(
        x: Tensor,
        pads_tensor: Tensor | None,
        fill_tensor: Tensor | None = None,
        axes_tensor: Tensor | None = None,
    ) -> Tensor:
        pads = read_pads(pads_tensor) or []
        axes = read_axes(axes_tensor)
        begins, ends = spread_pads(pads, range(x.ndim) if axes is None else axes, x.ndim)
        if mode == "constant":
            value = fixed_fill if fill_tensor is None else fill_tensor.item()
            pairs = [pair for ends_of in zip(begins, ends, strict=True) for pair in ends_of[::-1]]
            return F.pad(x, pairs[::-1], value=value or 0)
        for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            x = pad_axis(x, axis, begin, end, mode) if begin or end else x
        return x

    return run


def spread_pads(pads: Sequence[int], axes: Sequence[int], rank: int) -> tuple[list[int], list[int]]:
    """Pads of some axes -> (begins, ends) of every axis."""
    begins, ends = [0] * rank, [0] * rank
    for entry, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[entry], pads[entry + len(axes)]
    return begins, ends


@operator("DepthToSpace")
def depth_to_space(form: NodeView) -> Kernel:
    """[N, C * b * b, H, W] -> [N, C, H * b, W * b]; mode says which channels form a block."""
    block, mode = form.attribute("blocksize", 1), form.attribute("mode", "DCR")

    def run(x: Tensor) -> Tensor:
        if mode == "CRD":
            return F.pixel_shuffle(x, block)
        n, c, h, w = x.shape
        y = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return y.reshape(n, c // block**2, h * block, w * block)

    return run


@operator("SpaceToDepth")
def space_to_depth(form: NodeView) -> Kernel:
    """[N, C, H * b, W * b] -> [N, C * b * b, H, W]."""
    block = form.attribute("blocksize", 1)
    mode = form.attribute("mode", "DCR")
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x.reshape(n, c, h // block, block, w // block, block).permute(order)
        return y.reshape(n, c * block**2, h // block, w // block)

    return run
