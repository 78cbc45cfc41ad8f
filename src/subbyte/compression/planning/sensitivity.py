"""How much of a layer's error the layers that read it see.

The weight of one float layer at a time gets white noise. The error of the layer's output, without
the mean of each channel, which a bias makes good, is followed to every layer reached without
another between (and to the graph's outputs, which see it whole):

    sensitivity = mean over readers of (variance of their outputs' errors / of their outputs)
                  over the same ratio of the layer itself

A branch that hardly counts in a sum has a small sensitivity. The noise is in the weight because the
error of a coded weight is alike all over an image: no pooling averages it away, as it would noise
in the output. Only the next layers are looked at: layers behind them are coded with the error in
sight, and make up for a part of it. (Ours; docs/decisions/0018.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from subbyte.compression.calibration.batches import on_device
from subbyte.compression.calibration.statistics import LayerStatistics, channel_axis
from subbyte.data import Samples
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer

SENSITIVITY_SAMPLES = 8
LEAST_SENSITIVITY = 1e-3
_NOISE = 0.05

Values = dict[str, Tensor]


class _Spread:
    """Mean [O] and variance of errors, channel by channel, over all that is added."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def add(self, layer: Layer, error: Tensor) -> None:
        """An error of the layer's output."""
        rows = error.movedim(channel_axis(layer), -1).flatten(0, -2).double()
        self.rows += len(rows)
        self.total = self.total + rows.sum(0)
        self.square = self.square + rows.square().sum(0)

    def mean(self, layer: Layer, like: Tensor) -> Tensor:
        """The mean error of each channel, shaped so that it can be taken from an output of the
        layer."""
        shape = [1] * like.ndim
        shape[channel_axis(layer)] = -1
        return (torch.as_tensor(self.total) / self.rows).to(like).reshape(shape)

    def energy(self) -> float:
        """Sum of the channels' variances."""
        mean = torch.as_tensor(self.total) / self.rows
        return float((torch.as_tensor(self.square) / self.rows - mean.square()).clamp_min(0).sum())


@torch.no_grad()
def sensitivities_of(
    module: GraphModule,
    layers: Sequence[Layer],
    statistics: dict[str, LayerStatistics],
    samples: Samples,
    device: torch.device,
) -> dict[str, float]:
    """Every layer's sensitivity, by weight, at least `LEAST_SENSITIVITY`; from a few samples."""
    own = {layer.name: _Spread() for layer in layers}
    for values in _passes(module, samples, device):
        for number, layer in enumerate(layers):
            own[layer.name].add(layer, _error(module, values, layer, number))
    felt: dict[str, dict[str, _Spread]] = {layer.name: {} for layer in layers}
    for values in _passes(module, samples, device):
        for number, layer in enumerate(layers):
            error = _error(module, values, layer, number)
            error -= own[layer.name].mean(layer, error)
            if _follow(module, layers, values, layer, error, felt[layer.name]):
                felt[layer.name][layer.name] = own[layer.name]
    energies = {layer.name: statistics[layer.weight].energy for layer in layers}
    found: dict[str, list[float]] = {layer.weight: [] for layer in layers}
    for layer in layers:
        size = _relative(own[layer.name], energies[layer.name])
        seen = [_relative(spread, energies[name]) for name, spread in felt[layer.name].items()]
        found[layer.weight] += [each / size for each in seen if size > 0]
    return {
        weight: max(LEAST_SENSITIVITY, sum(seen) / len(seen)) if seen else 1.0
        for weight, seen in found.items()
    }


def _relative(spread: _Spread, energy: float) -> float:
    return spread.energy() / energy if energy > 0 else 0.0


def _passes(module: GraphModule, samples: Samples, device: torch.device) -> Iterator[Values]:
    """All values of the float network, sample by sample."""
    for batch in samples.first(SENSITIVITY_SAMPLES).batches(1):
        yield dict(module.computed(on_device(batch, device)))


def _error(module: GraphModule, values: Values, layer: Layer, seed: int) -> Tensor:
    """The change of the layer's output by noise of `_NOISE` times the weight's size."""
    weight = module.constant(layer.weight).detach()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(weight.shape, generator=generator).to(weight)
    size = _NOISE * float(weight.square().mean().sqrt())
    place = _place(module, layer)
    step = module.steps[place]
    local = {name: values[name] for name in step.inputs if name in values}
    local[layer.weight] = weight + size * noise
    module.run(local, place, place + 1, keep=step.outputs)
    return local[layer.output] - values[layer.output]


def _place(module: GraphModule, layer: Layer) -> int:
    return next(place for place, step in enumerate(module.steps) if step.name == layer.name)


def _follow(
    module: GraphModule,
    layers: Sequence[Layer],
    values: Values,
    layer: Layer,
    error: Tensor,
    felt: dict[str, _Spread],
) -> bool:
    """Add the change of every reader's output to ``felt``; whether a graph output changes."""
    readers = {reader.name: reader for reader in layers}
    changed = {layer.output: values[layer.output] + error}
    for place in range(_place(module, layer) + 1, len(module.steps)):
        step = module.steps[place]
        if not any(name in changed for name in step.inputs):
            continue
        local = {n: changed.get(n, values[n]) for n in step.inputs if n in changed or n in values}
        module.run(local, place, place + 1, keep=step.outputs)
        if step.name in readers:
            reader = readers[step.name]
            spread = felt.setdefault(reader.name, _Spread())
            spread.add(reader, local[reader.output] - values[reader.output])
        else:
            changed |= {name: local[name] for name in step.outputs if name in local}
    return any(name in changed for name in module.output_names)
