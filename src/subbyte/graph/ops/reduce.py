"""Reductions, arg-reductions, cumulative sums and TopK."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    return torch.div(x.sum(axes, keepdim=keep), _count(x, axes), rounding_mode="trunc").to(x.dtype)


def _count(x: Tensor, axes: list[int]) -> int:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return count


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _max(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amax(axes, keepdim=keep)


def _min(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amin(axes, keepdim=keep)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: _sum(x * x, axes, keep).sqrt().to(x.dtype),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, tuple(axes), keep),
    "ReduceMax": _max,
    "ReduceMean": _mean,
    "ReduceMin": _min,
    "ReduceProd": _product,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
}


@operator(*REDUCTIONS, lengths=(1,))
def reduction(form: NodeView) -> Kernel:
    """Reduce over ``axes`` (all of them if none are given, unless noop_with_empty_axes)."""
    function = REDUCTIONS[form.op_type]
    keep = bool(form.attribute("keepdims", 1))
    noop = bool(form.attribute("noop_with_empty_axes", 0))
    listed = form.optional("axes")  # before operator set 18 (ReduceSum: 13)
    read = form.integers(1)

    def run(x: Tensor, axes_tensor: Tensor | None = None) -> Tensor:
        axes = listed if listed is not None else read(axes_tensor)
        if not axes:
            if noop:
                return x
            axes = range(x.ndim)
        return function(x, list(axes), keep) if x.ndim else function(x[None], [0], False)

    return run


@operator("ArgMax", "ArgMin")
def arg_reduction(form: NodeView) -> Kernel:
    """Index of the largest or smallest entry along ``axis``; the first one, or the last."""
    pick = torch.argmax if form.op_type == "ArgMax" else torch.argmin
    axis, keep = form.attribute("axis", 0), bool(form.attribute("keepdims", 1))
    if not form.attribute("select_last_index", 0):
        return lambda x: pick(x, axis, keep)
    return lambda x: x.shape[axis] - 1 - pick(x.flip(axis), axis, keep)


@operator("CumSum", "CumProd", lengths=(1,))
def cumulative(form: NodeView) -> Kernel:
    """Running sum or product along an axis; ``exclusive`` leaves out the entry itself."""
    function = torch.cumsum if form.op_type == "CumSum" else torch.cumprod
    neutral = 0 if form.op_type == "CumSum" else 1
    exclusive, reverse = form.attribute("exclusive", 0), form.attribute("reverse", 0)
    read = form.integers(1)

    def run(x: Tensor, axis_tensor: Tensor | None) -> Tensor:
        (axis,) = read(axis_tensor) or [0]
        y = x.flip(axis) if reverse else x
        y = function(y, axis, dtype=x.dtype)
        if exclusive:
            first = torch.full_like(y.narrow(axis, 0, 1), neutral)
            y = torch.cat([first, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
        return y.flip(axis) if reverse else y

    return run


@operator("TopK", outputs=2, lengths=(1,))
def top_k(form: NodeView) -> Kernel:
    """The k largest or smallest entries along an axis and their indices."""
    axis, largest = form.attribute("axis", -1), bool(form.attribute("largest", 1))
    form.attribute("sorted", 1)  # sorted output is one of the orders allowed without it
    read = form.integers(1)

    def run(x: Tensor, k_tensor: Tensor | None) -> tuple[Tensor, Tensor]:
        (k,) = read(k_tensor) or [0]
        # A stable sort, because of equal entries ONNX takes the one with the lower index.
        values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)

    return run
