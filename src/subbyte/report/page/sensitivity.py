"""The harm that each layer does to the network's outputs.

Let f be the float network's outputs, and s_l the outputs of the same network with the compressed
weight and bias in layer l alone. Activations stay float. The harm of layer l is D(f, s_l), as for
the points of `subbyte explore` (`subbyte.compression.divergence`):

- where the network gives one row of scores a sample, the mean KL(softmax f || softmax s) in nats;
- else the squared error of each output over its variance, added up.

It is the usual one-at-a-time sensitivity. The parts do not add up to the whole, as layers are
encoded to repair the losses of earlier ones: only the shares count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size
from subbyte.compression.calibration.rows import output_rows
from subbyte.compression.device import open_device
from subbyte.compression.divergence import Distance, energy, ratio
from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.encoded import Encoded
from subbyte.data import Samples
from subbyte.errors import OptionError, RunError
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.methods.coded import CodedWeight
from subbyte.progress import Progress, silent
from subbyte.report.coded import CodedLayer
from subbyte.runtime import Model

FILE_BATCH = 8
"""Samples a run of a file whose batch is free."""

Outputs = list[Tensor]


@dataclass(frozen=True)
class Sensitivity:
    """``measure``: "kl" or "error", the D of the module; ``total``: D of the network with all
    compressed weights and biases. By layer, in the order in which they run: ``harm``, and
    ``error``, sum |y^ - y|^2 / sum |y - mean y|^2 of the layer's own output."""

    measure: str
    total: float
    harm: dict[str, float]
    error: dict[str, float]


def check_form(network: Network, layers: Mapping[str, CodedLayer]) -> None:
    """Raise `OptionError` unless ``layers`` are exactly the layers of ``network``."""
    by_name = {layer.name: layer for layer in network.layers}
    for name, coded in layers.items():
        if name not in by_name or by_name[name].shape != coded.weight.shape:
            raise OptionError(
                "the file is no compressed form of the float network",
                where=network.name,
                expected=f"a layer {name} with a weight {_size(coded)}",
                got="none" if name not in by_name else by_name[name].shape,
            )
    there = {by_name[name].weight for name in layers}
    for layer in network.layers:
        if layer.weight not in there:
            raise OptionError(
                "the file is no compressed form of the float network",
                where=network.name,
                expected="no layers but the file's own",
                got=f"a layer {layer.name}",
            )


def coded_network(
    network: Network,
    layers: Mapping[str, CodedLayer],
    unpacked: Mapping[str, CodedWeight] | None = None,
) -> GraphModule:
    """The float network with the weights and biases of a compressed file.

    ``unpacked``: the weights that no layer reads (`unpacked_weights`).

    Raises:
        OptionError: the file is no compressed form of ``network``.
    """
    check_form(network, layers)
    by_name = {layer.name: layer for layer in network.layers}
    weights = {by_name[name].weight: coded.weight for name, coded in layers.items()}
    weights |= {
        weight: (unpacked or {})[name] for weight, name in _names(network, unpacked or {}).items()
    }
    biases = {name: torch.from_numpy(coded.bias.copy()) for name, coded in layers.items()}
    return coded_module(network, Encoded(weights, biases, {}), open_device("cpu"))


@torch.no_grad()
def measure_layers(
    network: Network,
    compressed: GraphModule,
    coded: Mapping[str, CodedLayer],
    samples: Samples,
    progress: Progress = silent,
    unpacked: Mapping[str, CodedWeight] | None = None,
) -> Sensitivity:
    """Harm and output error of every coded layer, and harm of every weight of ``unpacked``.

    Both are measured on ``samples``; ``compressed`` is the result of `coded_network`. Memory holds
    one batch of both networks.
    """
    exact = GraphModule(network).eval()
    layers = {layer.name: layer for layer in network.layers if layer.name in coded}
    others = _names(network, unpacked or {})
    distance, total, done = Distance(), np.zeros((1, 1)), 0
    harms = {name: np.zeros((1, 1)) for name in [*layers, *others.values()]}
    errors = {name: np.zeros(2) for name in layers}
    for batch in samples.batches(chunk_size(exact, samples, open_device("cpu"))):
        values = {name: torch.from_numpy(array) for name, array in batch.items()}
        outputs = _outputs(exact, dict(values), 0)
        total = total + distance.sums(outputs, _outputs(compressed, dict(values), 0))
        for number, step, before, after_it in exact.walk(values):
            layer = layers.get(step.name)
            if layer is not None:
                compressed.run(before, number, number + 1, keep=step.outputs)
                errors[layer.name] += _error(layer, after_it, before)
                after = _outputs(exact, before, number + 1)
                harms[layer.name] = harms[layer.name] + distance.sums(outputs, after)
                continue
            for weight in others.keys() & set(step.inputs):
                after = _with_one(exact, weight, compressed.constant(weight), dict(before), number)
                harms[others[weight]] = harms[others[weight]] + distance.sums(outputs, after)
        done += batch.count
        progress("Layers", done, len(samples), "")
    for sums in (total, *harms.values(), *errors.values()):
        if not np.isfinite(sums).all():
            raise RunError("NaN or Inf inside the network")
    return Sensitivity(
        distance.measure,
        distance.of(total),
        {name: distance.of(sums) for name, sums in harms.items()},
        {name: ratio(sums) for name, sums in errors.items()},
    )


def _names(network: Network, unpacked: Mapping[str, CodedWeight]) -> dict[str, str]:
    """Weight -> the name that it has in ``unpacked``, for the weights that no layer reads."""
    names = {entry.weight: entry.name for entry in network.unpacked if entry.name in unpacked}
    unknown = set(unpacked) - {entry.name for entry in network.unpacked}
    if unknown:
        raise OptionError(
            "the file is no compressed form of the float network",
            where=network.name,
            expected=f"a weight {min(unknown)}",
            got="none",
        )
    return names


def _with_one(
    exact: GraphModule, weight: str, coded: Tensor, values: dict[str, Tensor], number: int
) -> Outputs:
    """The outputs from step ``number`` on where that step alone reads ``coded`` as ``weight``."""
    own = exact.constant(weight).detach().clone()
    exact.set_constant(weight, coded)
    try:
        exact.run(values, number, number + 1, keep=exact.steps[number].outputs)
    finally:
        exact.set_constant(weight, own)
    return _outputs(exact, values, number + 1)


def _error(
    layer: Layer, exact: Mapping[str, Tensor], lossy: Mapping[str, Tensor]
) -> NDArray[np.float64]:
    """Squared error of a layer's output, and its energy about the mean of each channel."""
    y, own = (output_rows(layer, values[layer.output]).flatten(0, 1) for values in (exact, lossy))
    return np.array([energy(own - y), energy(y - y.mean(0))])


def _outputs(module: GraphModule, values: dict[str, Tensor], first: int) -> Outputs:
    module.run(values, first, len(module.steps))
    return [
        values[name] if name in values else module.constant(name) for name in module.output_names
    ]


def _size(coded: CodedLayer) -> str:
    shape = coded.weight.shape
    return f"[{shape.outputs}, {shape.taps}, {shape.inputs}] in {shape.groups} groups"


def file_distance(network: Network, model: Model, samples: Samples) -> float:
    """D(f, outputs of the file as ``model`` computes them)."""
    exact, distance, sums = GraphModule(network).eval(), Distance(), np.zeros((1, 1))
    size = samples.baked(model.inputs) or FILE_BATCH
    with torch.no_grad():
        for batch in samples.batches(size):
            values = {name: torch.from_numpy(array) for name, array in batch.items()}
            result = model.run(batch)
            arrays = result if isinstance(result, tuple) else (result,)
            outputs = [torch.from_numpy(array) for array in arrays]
            sums = sums + distance.sums(_outputs(exact, values, 0), outputs)
    return distance.of(sums)
