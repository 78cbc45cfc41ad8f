"""Values that meet weights which are unpacked before their nodes read them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.statistics import STATISTICS_SAMPLES, LayerStatistics
from subbyte.data import Samples
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Unpacked
from subbyte.graph.passes.readings import RECURRENT
from subbyte.methods.statistics import BLOCK

SELDOM = 0.25
"""The part of a table's weight that all its rows have alike: rows that no sample reads will be
read by others."""


def values_read(entry: Unpacked) -> list[str]:
    """The values of the graph that `Evidence` looks at."""
    place = _moving_place(entry)
    if place is None:
        return []
    value = entry.node.outputs[0] if place < 0 else entry.node.inputs[place]
    return [] if value is None or not value.name else [value.name]


def _moving_place(entry: Unpacked) -> int | None:
    """The input that the weight meets; -1: the node's first output; None: none that is known."""
    if entry.rows:
        return 1
    if entry.place is None or entry.node.domain:
        return None
    if entry.op == "MatMul":
        return 1 - entry.place
    if entry.op in RECURRENT:
        return 0 if entry.place == 1 else -1
    return None


def rows_of(entry: Unpacked, value: Tensor) -> Tensor | None:
    """The rows of ``value`` that a product's matrices meet: [R, groups, I].

    None if shapes do not tell.
    """
    groups, inputs = entry.shape.groups, entry.shape.inputs
    if entry.op == "MatMul":
        moved = value if entry.place == 1 else value.transpose(-1, -2)
        batch = entry.stored[:-2]
        if moved.ndim < 2 or moved.shape[-1] != inputs:
            return None
        lead = moved.shape[:-2]
        try:
            whole = torch.broadcast_shapes(lead, batch)
        except RuntimeError:
            return None
        if whole[len(whole) - len(batch) :] != batch:
            return None
        rows = moved.expand(*whole, *moved.shape[-2:]).reshape(-1, groups, *moved.shape[-2:])
        return rows.transpose(1, 2).reshape(-1, groups, inputs)
    if entry.place == 1:
        return value.reshape(-1, 1, inputs).expand(-1, groups, -1)
    # Y: [T, directions, N, H], or with layout 1 [N, T, directions, H].
    axis = 2 if entry.node.attributes.get_int("layout", 0) else 1
    return value.movedim(axis, 2).reshape(-1, groups, inputs)


def counts_of(indices: Tensor, rows: int) -> Tensor:
    """How often each of ``rows`` rows is read, float64 on the CPU; negative indices count back."""
    flat = indices.reshape(-1).to("cpu", torch.int64)
    flat = torch.where(flat < 0, flat + rows, flat)
    return torch.bincount(flat[(flat >= 0) & (flat < rows)], minlength=rows).double()


def importance(counts: Tensor) -> Tensor:
    """How much each row of a table counts, 1 on average."""
    total = counts.sum()
    if total == 0:
        return torch.ones_like(counts)
    return SELDOM + (1 - SELDOM) * counts * (len(counts) / total)


@torch.no_grad()
def read_rows(
    module: GraphModule, unpacked: Sequence[Unpacked], samples: Samples, device: torch.device
) -> dict[str, Tensor]:
    """`importance` of the rows of every table, by weight name, from a few samples."""
    tables = [entry for entry in unpacked if entry.rows]
    counts: dict[str, Tensor] = {}
    if not tables:
        return counts
    names = {name for entry in tables for name in values_read(entry)}
    few = samples.first(STATISTICS_SAMPLES)
    for batch in few.batches(chunk_size(module, few, device)):
        values = dict(module.computed(on_device(batch, device), names))
        for entry in tables:
            for name in values_read(entry):
                if name in values:
                    found = counts_of(values[name], entry.shape.outputs)
                    counts[entry.weight] = counts.get(entry.weight, torch.zeros_like(found)) + found
    return {weight: importance(found) for weight, found in counts.items()}


def weighed(entry: Unpacked, weight: Tensor, rows: Tensor | None) -> tuple[Tensor, LayerStatistics]:
    """Weight and statistics by which a candidate's harm is the weight's own relative error.

    ``rows``: of a table, how much every row counts.
    """
    if rows is not None:
        weight = weight * rows.to(weight).sqrt()[:, None, None]
    blocks = torch.eye(BLOCK, device=weight.device)
    count = -(-entry.shape.inputs // BLOCK)
    blocks = blocks.expand(entry.shape.groups, count, BLOCK, BLOCK)
    centred = weight - weight.mean(0) if entry.rows else weight
    energy = centred.square().sum((1, 2))
    return weight, LayerStatistics(blocks, energy, entry.shape.inputs * entry.shape.groups)
