"""What planning knows of each layer, from one float pass over a few samples.

``blocks``: the input channels' covariance within aligned runs of `BLOCK` channels,
averaged over taps' positions: enough to price a code of any group size d in
{2, 3, 4, 6, 8}, as all of them divide `BLOCK`. ``energy``: the output's total variance.
``sensitivity``: the square root of how much the network's output suffers per unit of
relative error in this layer's output, probed by adding noise to this layer's weight
alone. The root, because layers are coded one after another and each makes good a part of
what the layers before it lost, which a probe of one layer cannot see: measured on
ResNet-20, the full figure starves late layers, the root does as well as equal weights
there and follows the layers that do matter more where they differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.compress.sequence import Progress, chunk_size
from subbyte.compress.similarity import divergence
from subbyte.data import Samples
from subbyte.graph.layers import canonical, to_onnx_layout
from subbyte.graph.module import GraphModule
from subbyte.graph.network import Layer

BLOCK = 24
STATISTICS_SAMPLES = 128
PROBE_SAMPLES = 64
PROBE_ERROR = 0.05
LEAST_SENSITIVITY = 1e-6


@dataclass
class LayerStatistics:
    """blocks [groups, ceil(I / 24), 24, 24]; energy and sensitivity >= 0."""

    blocks: Tensor
    energy: float
    sensitivity: float = 1.0


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
        axis = 1 if self.layer.op != "Linear" else int(self.layer.node.attributes["axis"].as_int())
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
        mean = self.mean / self.rows
        blocks = self.cross / self.rows - mean[..., :, None] * mean[..., None, :]
        variance = self.square / self.outputs - (self.total / self.outputs).square()
        return LayerStatistics(blocks, float(variance.clamp_min(0).sum()))


@torch.no_grad()
def collect(
    module: GraphModule, layers: list[Layer], samples: Samples, device: torch.device
) -> dict[str, LayerStatistics]:
    """Input blocks and output energy of every layer, by weight name."""
    sums = {layer.name: _Sums(layer, device) for layer in layers}
    steps = {step.name: i for i, step in enumerate(module.steps)}
    few = samples.first(STATISTICS_SAMPLES)
    for batch in few.batches(chunk_size(module, few, device)):
        environment = {k: torch.from_numpy(v).to(device) for k, v in batch.items()}
        at = 0
        for layer in layers:
            step = steps[layer.name]
            module.run(environment, at, step + 1, keep=[layer.input, layer.output])
            sums[layer.name].add(environment[layer.input], environment[layer.output])
            for name in set(environment) - module.live(step + 1):
                del environment[name]
            at = step + 1
    found: dict[str, LayerStatistics] = {}
    for layer in layers:
        found.setdefault(layer.weight, sums[layer.name].result())
    return found


@torch.no_grad()
def probe(
    module: GraphModule,
    layers: list[Layer],
    statistics: dict[str, LayerStatistics],
    samples: Samples,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> None:
    """Set each layer's ``sensitivity``: sqrt(output divergence / relative error)."""
    few = samples.first(PROBE_SAMPLES)
    chunk = chunk_size(module, few, device)
    batches = [
        [torch.from_numpy(v).to(device) for v in batch.values()] for batch in few.batches(chunk)
    ]
    exact = [_outputs(module, batch) for batch in batches]
    rng = torch.Generator(device=device).manual_seed(seed)
    unique = list({layer.weight: layer for layer in layers}.values())
    for number, layer in enumerate(unique):
        progress("probe", number, len(unique), layer.name)
        data = statistics[layer.weight]
        weight = module.constant(layer.weight).clone()
        noisy = _with_noise(canonical(layer, weight), layer, data, rng)
        module.set_constant(layer.weight, to_onnx_layout(layer, noisy))
        harm = sum(
            divergence(wanted, _outputs(module, batch)) * len(batch[0])
            for wanted, batch in zip(exact, batches, strict=True)
        )
        module.set_constant(layer.weight, weight)
        slope = float(harm) / len(few) / PROBE_ERROR
        data.sensitivity = math.sqrt(max(slope, LEAST_SENSITIVITY))
    progress("probe", len(unique), len(unique), "")


def _outputs(module: GraphModule, batch: list[Tensor]) -> tuple[Tensor, ...]:
    found = module(*batch)
    return found if isinstance(found, tuple) else (found,)


def _with_noise(
    weight: Tensor, layer: Layer, data: LayerStatistics, rng: torch.Generator
) -> Tensor:
    """Add Gaussian noise, in proportion to each output's rms, of `PROBE_ERROR` output error."""
    size = weight.square().mean((1, 2), keepdim=True).sqrt()
    noise = torch.randn(weight.shape, generator=rng, device=weight.device) * size
    error = block_error(noise, layer, data) / max(data.energy, 1e-30)
    return weight + noise * math.sqrt(PROBE_ERROR / max(error, 1e-12))


def block_error(error: Tensor, layer: Layer, data: LayerStatistics) -> float:
    """Output energy of a weight error [O, T, I], correlations beyond a block left out."""
    shape = layer.shape
    pad = data.blocks.shape[1] * BLOCK - shape.inputs
    padded = torch.nn.functional.pad(error, (0, pad))
    rows = padded.reshape(shape.groups, -1, data.blocks.shape[1], BLOCK)
    return float(torch.einsum("grbi,gbij,grbj->", rows, data.blocks, rows))
