"""A coded weight put into a module, in the one way for every stage of the work."""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.compression.encoding.encoded import Encoded
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network, Weighted
from subbyte.graph.weight_layout import to_onnx_layout
from subbyte.methods import CodedWeight, binarization_of, decode_weight


def apply_coded(
    module: GraphModule, layer: Weighted, coded: CodedWeight, bias: Tensor | None = None
) -> None:
    """From now on ``layer`` of ``module`` computes with the decoded ``coded``.

    The weight is put in the layout that the node reads; the layer binarizes its input where
    ``coded`` is for that. ``bias``: float [O], None: as it is.
    """
    device = module.constant(layer.weight).device
    weight = torch.from_numpy(decode_weight(coded)).to(device)
    module.set_constant(layer.weight, to_onnx_layout(layer, weight))
    if not isinstance(layer, Layer):
        return
    if bias is not None:
        module.set_bias(layer.name, bias.to(device))
    binarization = binarization_of(coded)
    if binarization is not None:
        module.binarize(layer, binarization)


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
