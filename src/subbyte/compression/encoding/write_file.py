"""From coded weights to the file: activations quantized, tables fitted, all written."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from subbyte.compression.calibration.activation_ranges import quantize_activations
from subbyte.compression.calibration.table_shifts import table_shifts
from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.apply import apply_coded
from subbyte.compression.encoding.layerwise import Encoded
from subbyte.data import Samples
from subbyte.graph.compressed.inline import inline
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network
from subbyte.progress import Progress


def write_coded(
    network: Network,
    samples: Samples,
    options: CompressOptions,
    device: torch.device,
    encoded: Encoded,
    progress: Progress,
) -> onnx.ModelProto:
    """The file of a network whose layers are coded, as ``options`` wish for it."""
    biases = {name: value.numpy().astype(np.float32) for name, value in encoded.biases.items()}
    if options.activations == "float":
        reason = "--activations float"
        written = write_network(network, encoded.weights, biases, float_reason=reason)
        return inline(written) if options.inline else written
    islands, params, shifts = _quantized(network, samples, device, encoded, progress)
    written = write_network(
        network, encoded.weights, biases, islands, activations=params, table_shifts=shifts
    )
    return inline(written) if options.inline else written


def _quantized(
    network: Network,
    samples: Samples,
    device: torch.device,
    encoded: Encoded,
    progress: Progress,
) -> tuple[IslandPlan, dict[str, QuantParams], dict[str, int]]:
    """What is measured on the coded network, which is gone when the file is written."""
    module = coded_module(network, encoded, device)
    islands, params = quantize_activations(network, module, samples, device, progress)
    shifts = table_shifts(network, module, encoded.weights, islands, params, samples, device)
    return islands, params, shifts


def coded_module(network: Network, encoded: Encoded, device: torch.device) -> GraphModule:
    """The network with the weights and biases that the file will hold."""
    module = GraphModule(network).to(device).eval()
    for entry in network.unpacked:
        if entry.weight in encoded.weights:
            apply_coded(module, entry, encoded.weights[entry.weight])
    for layer in network.layers:
        bias = encoded.biases.get(layer.name)
        if layer.weight in encoded.weights:
            apply_coded(module, layer, encoded.weights[layer.weight], bias)
        elif bias is not None:
            module.set_bias(layer.name, bias.to(device))
    return module
