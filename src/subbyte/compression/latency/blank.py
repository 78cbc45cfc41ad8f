"""A compressed file before any weight is coded: how large it will be, and how fast.

All its codes are zero; all else is as it will be: nodes, functions, sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from subbyte.compression.config import CompressOptions
from subbyte.graph.compressed.inline import inline
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.network import Network
from subbyte.graph.write.model import write_network
from subbyte.methods import METHODS, MethodOptions, blank_weight

_SHIFT = 8


def blank_model(
    network: Network,
    plan: Mapping[str, MethodOptions],
    options: CompressOptions,
    looked_up: Collection[str] | None = None,
) -> onnx.ModelProto:
    """The file of ``plan`` with weights of nothing.

    ``looked_up``: names of the layers that the kernels look up; None: which these are does not
    matter, all that have tables.
    """
    coded = {
        layer.weight: blank_weight(layer.shape, plan[layer.weight])
        for layer in network.weighted
        if layer.weight in plan
    }
    if options.activations == "float":
        written = write_network(network, coded, _biases(network), float_reason="blank")
    else:
        islands = plan_islands(network)
        params = {
            group.name: group.params(-float(number), float(number))
            for number, group in enumerate(islands.groups, 1)
        }
        shifts = {
            layer.name: _SHIFT
            for layer in network.layers
            if islands.layers[layer.name].form != "float"
            and METHODS[coded[layer.weight].method].tables(coded[layer.weight]) is not None
            and (looked_up is None or layer.name in looked_up)
        }
        written = write_network(
            network, coded, _biases(network), islands, activations=params, table_shifts=shifts
        )
    return inline(written) if options.inline else written


def overhead(network: Network, plan: Mapping[str, MethodOptions], options: CompressOptions) -> int:
    """Bytes of the file of ``plan`` beside the bytes of the coded weights."""
    layers = {layer.weight: layer for layer in network.weighted}
    weights = sum(blank_weight(layers[name].shape, form).nbytes for name, form in plan.items())
    return blank_model(network, plan, options).ByteSize() - weights


def _biases(network: Network) -> dict[str, NDArray[np.float32]]:
    """Every coded layer gets a bias, as the means give it one (`Moments.bias`).

    All different, as equal constants are written once.
    """
    return {
        layer.name: np.full(layer.shape.outputs, number, np.float32)
        for number, layer in enumerate(network.layers)
    }
