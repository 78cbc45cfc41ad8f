"""How a layer is coded where no plan file and no budget say so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.candidates import can_code, keeps_eight_bits, too_small
from subbyte.compression.planning.plan_file import Plan
from subbyte.errors import OptionError
from subbyte.graph.network import Network, Weighted
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical, output_layers, traits_of
from subbyte.methods import METHODS, LayerTraits, MethodOptions, trained_options
from subbyte.methods.fallback import fallback


def default_plan(network: Network, layers: list[Weighted], options: CompressOptions) -> Plan:
    """The options of every layer, by weight name."""
    kept, outputs = kept_at_eight_bits(network, layers, options), output_layers(network)
    return {
        layer.weight: default_options(layer, traits, options)
        for layer, traits in zip(layers, _traits(network, layers, kept, outputs), strict=True)
    }


def default_options(
    layer: Weighted, traits: LayerTraits, options: CompressOptions
) -> MethodOptions:
    """One layer's options: scalar grids where the method is not for it."""
    if layer.binarization is not None:
        return trained_options(layer.binarization)
    choice = options.choices[0]
    found = METHODS[choice.method].default(traits, choice.options)
    if found is None or not can_code(found.method, layer):
        return fallback(traits)
    return found


def kept_at_eight_bits(
    network: Network, layers: list[Weighted], options: CompressOptions
) -> frozenset[str]:
    """Weights that go below 8 bits only where a budget is out of reach otherwise.

    With methods alone that binarize inputs also the output layers, layers of which no binary
    format is known, and all layers that were not trained binary in a network where others were.
    """
    kept = {layer.weight for layer in layers if keeps_eight_bits(layer)}
    if all(METHODS[name].trained for name in options.allowed):
        trained = any(layer.binarization for layer in layers)
        kept |= output_layers(network)
        kept |= {layer.weight for layer in layers if trained or not traits_of(layer).binarizes}
    return frozenset(kept - {layer.weight for layer in layers if layer.binarization})


def check_possible(network: Network, layers: list[Weighted], options: CompressOptions) -> None:
    """Raise an error where the network cannot be coded as the options say: it was trained for
    another method, or no layer is such as the options ask for."""
    trained = next((layer for layer in layers if layer.binarization), None)
    binary = [name for name, method in METHODS.items() if method.trained]
    if trained is not None and not set(binary) & set(options.allowed):
        raise OptionError(
            "the network has layers that were trained binary",
            where=trained.name,
            expected=f"`method` {' or '.join(binary)}",
            got=", ".join(options.allowed),
        )
    traits = _traits(network, layers)
    for choice in options.choices:
        METHODS[choice.method].check_network(traits, choice.options)


def _traits(
    network: Network,
    layers: Sequence[Weighted],
    kept: Collection[str] = (),
    outputs: Collection[str] = (),
) -> list[LayerTraits]:
    def weight_of(layer: Weighted) -> Callable[[], Tensor]:
        stored = network.model.graph.initializers[layer.weight]
        return lambda: canonical(layer, torch.tensor(known(stored), dtype=torch.float32))

    return [
        replace(
            traits_of(layer, weight_of(layer)),
            kept=layer.weight in kept,
            tiny=too_small(layer),
            output=layer.weight in outputs,
        )
        for layer in layers
    ]
