"""The statistics of each layer for planning, from one float pass over a few samples.

``blocks``: the input channels' covariance within aligned runs of `BLOCK` channels, over all pixels:
enough to price a code of any group size d in {2, 3, 4, 6, 8}, as all of them divide `BLOCK`.
``variance``: the variance of each output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.culprit import check_finite
from subbyte.data import Samples
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.methods.statistics import BLOCK

STATISTICS_SAMPLES = 128


@dataclass(frozen=True)
class LayerStatistics:
    """blocks [groups, ceil(I / 24), 24, 24]; variance [O] of each output; ``inputs``: channels
    over all groups."""

    blocks: Tensor
    variance: Tensor
    inputs: int

    def damped(self, damping: float) -> LayerStatistics:
        """With ``damping`` times the mean variance of an input added to the variance of each input.

        Encoders minimise the error under it (`Moments`). Where a few inputs have most of the
        variance, that is far from the covariance itself.
        """
        eye = torch.eye(BLOCK, device=self.blocks.device)
        level = self.blocks.diagonal(dim1=2, dim2=3).sum() / self.inputs
        return replace(self, blocks=self.blocks + damping * level * eye)

    @property
    def energy(self) -> float:
        """Total variance of the output."""
        return float(self.variance.sum())


class _Sums:
    """Running sums of one layer's input blocks and output."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        count = -(-layer.shape.inputs // BLOCK)
        self.layer, self.rows, self.outputs = layer, 0, 0
        self.cross = torch.zeros(layer.shape.groups, count, BLOCK, BLOCK, device=device)
        self.mean = torch.zeros(layer.shape.groups, count, BLOCK, device=device)
        self.square = torch.zeros(layer.shape.outputs, device=device)
        self.total = torch.zeros(layer.shape.outputs, device=device)

    def add(self, value: Tensor, output: Tensor) -> None:
        """Add all pixels of the layer's input and output."""
        axis = channel_axis(self.layer)
        rows = value.movedim(axis, -1).reshape(-1, self.layer.shape.groups, self.layer.shape.inputs)
        pad = self.mean.shape[1] * BLOCK - rows.shape[2]
        blocks = torch.nn.functional.pad(rows, (0, pad)).unflatten(2, (-1, BLOCK))
        self.cross += torch.einsum("rgbi,rgbj->gbij", blocks, blocks)
        self.mean += blocks.sum(0)
        self.rows += len(rows)
        flat = output.movedim(axis, -1).reshape(-1, self.layer.shape.outputs)
        self.square += flat.square().sum(0)
        self.total += flat.sum(0)
        self.outputs += len(flat)

    def result(self) -> LayerStatistics:
        """The centred statistics."""
        for sums in (self.cross, self.square):
            check_finite(sums, f"layer {self.layer.name!r}")
        mean = self.mean / self.rows
        blocks = self.cross / self.rows - mean[..., :, None] * mean[..., None, :]
        variance = self.square / self.outputs - (self.total / self.outputs).square()
        inputs = self.layer.shape.inputs * self.layer.shape.groups
        return LayerStatistics(blocks, variance.clamp_min(0), inputs)


def channel_axis(layer: Layer) -> int:
    """Where a layer's input and output have their channels."""
    return 1 if layer.op != "Linear" else int(layer.node.attributes["axis"].as_int())


@torch.no_grad()
def collect(
    module: GraphModule, layers: list[Layer], samples: Samples, device: torch.device
) -> dict[str, LayerStatistics]:
    """Input blocks and output energy of every layer, by weight name."""
    sums = {layer.name: _Sums(layer, device) for layer in layers}
    by_name = {layer.name: layer for layer in layers}
    few = samples.first(STATISTICS_SAMPLES)
    for batch in few.batches(chunk_size(module, few, device)):
        for _, step, before, after in module.walk(on_device(batch, device)):
            layer = by_name.get(step.name)
            if layer is not None:
                sums[layer.name].add(before[layer.input], after[layer.output])
    found: dict[str, LayerStatistics] = {}
    for layer in layers:
        found.setdefault(layer.weight, sums[layer.name].result())
    return found
