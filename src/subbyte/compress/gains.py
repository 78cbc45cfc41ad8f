"""How much of a layer's error the layers that read it see.

Noise of relative size r is added to the output of one float layer at a time, the values of each
channel alike, and followed to every layer reached without another between (and to the graph's
outputs, which see it whole):

    gain = mean over readers of (mean square of what their output changes / its variance) / r^2

A branch that hardly counts in a sum, or is averaged away, has a small gain. Only the next
layers are looked at: what lies behind them is coded with the error in sight, and makes up for a
part of it. (Ours; docs/decisions/0018.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from subbyte.compress.statistics import LayerStatistics, channel_axis
from subbyte.data import Samples
from subbyte.graph.module import GraphModule
from subbyte.graph.network import Layer

GAIN_SAMPLES = 8
LEAST_GAIN = 1e-3
_NOISE = 0.05

Values = dict[str, Tensor]


@torch.no_grad()
def noise_gains(
    module: GraphModule,
    layers: Sequence[Layer],
    statistics: dict[str, LayerStatistics],
    samples: Samples,
    device: torch.device,
) -> dict[str, float]:
    """The gain of every layer, by weight name, at least `LEAST_GAIN`; from a few samples."""
    found: dict[str, list[float]] = {layer.weight: [] for layer in layers}
    for batch in samples.first(GAIN_SAMPLES).batches(1):
        inputs = {k: torch.from_numpy(v).to(device) for k, v in batch.items()}
        values = dict(inputs)
        module.run(values, 0, len(module.steps), keep={o for s in module.steps for o in s.outputs})
        values |= inputs
        for number, layer in enumerate(layers):
            spread = statistics[layer.weight].variance.sqrt()
            noisy = _noisy(layer, values[layer.output], spread, number)
            found[layer.weight] += _felt(module, layers, statistics, values, layer, noisy)
    return {
        weight: max(LEAST_GAIN, sum(seen) / len(seen) / _NOISE**2) if seen else 1.0
        for weight, seen in found.items()
    }


def _noisy(layer: Layer, output: Tensor, spread: Tensor, seed: int) -> Tensor:
    """With noise of `_NOISE` times each channel's ``spread`` [O]."""
    axis = channel_axis(layer)
    shape = [1] * output.ndim
    shape[axis] = -1
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(output.shape, generator=generator).to(output.device)
    return output + _NOISE * spread.reshape(shape) * noise


def _felt(
    module: GraphModule,
    layers: Sequence[Layer],
    statistics: dict[str, LayerStatistics],
    values: Values,
    layer: Layer,
    noisy: Tensor,
) -> list[float]:
    """Of every reader the error of its output over its variance."""
    readers = {reader.name: reader for reader in layers}
    changed = {layer.output: noisy}
    seen = [_NOISE**2] if layer.output in module.output_names else []
    start = next(n for n, step in enumerate(module.steps) if step.name == layer.name)
    for place in range(start + 1, len(module.steps)):
        step = module.steps[place]
        if not any(name in changed for name in step.inputs):
            continue
        local = {n: changed.get(n, values[n]) for n in step.inputs if n in changed or n in values}
        module.run(local, place, place + 1, keep=step.outputs)
        reader = readers.get(step.name)
        if reader is None:
            changed |= {name: local[name] for name in step.outputs if name in local}
            seen += [_NOISE**2 for name in step.outputs if name in module.output_names]
            continue
        energy = statistics[reader.weight].energy
        error = (local[reader.output] - values[reader.output]).movedim(channel_axis(reader), -1)
        if energy > 0:
            seen.append(float(error.flatten(0, -2).square().mean(0).sum()) / energy)
    return seen
