"""Gather, scatter and selection by index or condition."""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.graph.ops.registry import Kernel, NodeView, operator


@operator("Gather")
def gather(form: NodeView) -> Kernel:
    """Slices of x along ``axis`` at the given indices (any shape)."""
    axis = form.attribute("axis", 0)
    fixed = form.constants.get(1)
    if fixed is not None and fixed.ndim == 0:
        form.static(1)
        chosen = int(fixed)
        return lambda x, _: x.select(axis, chosen)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        size, at = x.shape[axis], axis % x.ndim
        flat = indices.reshape(-1)
        flat = torch.where(flat < 0, flat + size, flat)
        y = x.index_select(axis, flat)
        return y.reshape(*x.shape[:at], *indices.shape, *x.shape[at + 1 :])

    return run


def _positive(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices).to(torch.int64)


@operator("GatherElements")
def gather_elements(form: NodeView) -> Kernel:
    """y[i][j][k] = x[index[i][j][k]][j][k] for axis 0."""
    axis = form.attribute("axis", 0)
    return lambda x, index: torch.gather(x, axis, _positive(index, x.shape[axis]))


def _columns(indices: Tensor, batch: int) -> tuple[Tensor, ...]:
    """Index tensors, one per indexed axis, after ``batch`` leading axes that count along."""
    leading = [
        torch.arange(size, device=indices.device).reshape(
            [-1 if axis == place else 1 for place in range(indices.ndim - 1)]
        )
        for axis, size in enumerate(indices.shape[:batch])
    ]
    return (*leading, *indices.to(torch.int64).unbind(-1))


@operator("GatherND")
def gather_nd(form: NodeView) -> Kernel:
    """x at index tuples held in the last axis of the indices."""
    batch = form.attribute("batch_dims", 0)
    return lambda x, indices: x[_columns(indices, batch)]


SCATTER_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements")
def scatter_elements(form: NodeView) -> Kernel:
    """A copy of x with updates written (or reduced) at indices along ``axis``."""
    axis, reduction = form.attribute("axis", 0), form.attribute("reduction", "none")
    if reduction not in ("none", *SCATTER_REDUCTIONS):
        form.unsupported(f"reduction={reduction}")

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        index = _positive(indices, x.shape[axis])
        if reduction == "none":
            return x.scatter(axis, index, updates)
        return x.scatter_reduce(axis, index, updates, SCATTER_REDUCTIONS[reduction])

    return run


@operator("ScatterND")
def scatter_nd(form: NodeView) -> Kernel:
    """A copy of x with updates written (or added) at index tuples."""
    reduction = form.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        form.unsupported(f"reduction={reduction}")

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        return x.index_put(_columns(indices, 0), updates, accumulate=reduction == "add")

    return run


@operator("NonZero")
def non_zero(form: NodeView) -> Kernel:
    """Indices of the entries that are not zero, [rank, count]."""
    return lambda x: torch.nonzero(x).t()


@operator("Compress")
def compress(form: NodeView) -> Kernel:
    """Slices along ``axis`` (of the flat tensor without it) where the condition holds."""
    axis = form.optional("axis")

    def run(x: Tensor, condition: Tensor) -> Tensor:
        picked = torch.nonzero(condition.reshape(-1)).reshape(-1)
        return x.reshape(-1)[picked] if axis is None else x.index_select(axis, picked)

    return run


@operator("ReverseSequence")
def reverse_sequence(form: NodeView) -> Kernel:
    """Each sequence's first ``length`` steps in reverse order."""
    batch_axis, time_axis = form.attribute("batch_axis", 1), form.attribute("time_axis", 0)

    def run(x: Tensor, lengths: Tensor) -> Tensor:
        sequences = x.movedim((batch_axis, time_axis), (0, 1))
        step = torch.arange(sequences.shape[1], device=x.device)
        ends = lengths.to(torch.int64)[:, None]
        index = torch.where(step < ends, ends - 1 - step, step)
        rows = torch.arange(len(ends), device=x.device)[:, None]
        return sequences[rows, index].movedim((0, 1), (batch_axis, time_axis))

    return run
