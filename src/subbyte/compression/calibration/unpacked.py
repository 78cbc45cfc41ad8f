"""What planning knows of the weights that are unpacked before their nodes read them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from subbyte.compression.calibration.statistics import BLOCK, STATISTICS_SAMPLES, LayerStatistics
from subbyte.compression.encoding.layerwise import chunk_size
from subbyte.compression.encoding.unpacked import counts_of, importance, values_read
from subbyte.data import Samples
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Unpacked


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
        values = {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
        module.run(values, 0, len(module.steps), keep=names)
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
