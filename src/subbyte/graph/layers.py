"""The weight of a layer between its ONNX layout and the canonical W[O, T, I].

ONNX layouts: Conv [O, I, k...], ConvTranspose [groups * I, O / groups, k...],
Linear [O, I], with I input channels per group. Both functions take and give numpy arrays
or torch tensors (views where possible) of any element type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from subbyte.graph.nested import leads_to
from subbyte.graph.network import Layer, Network

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", bound="NDArray[Any] | Tensor")


def output_layers(network: Network) -> frozenset[str]:
    """Weights of the layers behind which no other layer comes."""
    layers = {layer.node for layer in network.layers}
    graph = network.model.graph
    return frozenset(
        layer.weight
        for layer in network.layers
        if not leads_to(layer.node.outputs, lambda reader, _: reader in layers, graph)
    )


def has_binary_form(layer: Layer) -> bool:
    """Whether the layer's input can be binarized: rows, or receptive fields with known pads."""
    if layer.op == "Linear":
        return bool(layer.node.attributes.get_int("axis", -1) == -1)
    return layer.op == "Conv" and len(layer.kernel_shape) == 2 and len(layer.pads) == 4


def canonical(layer: Layer, weight: Array) -> Array:
    """``weight`` in ONNX layout -> [O, T, I]."""
    shape = layer.shape
    array: Any = weight
    if layer.op == "ConvTranspose":
        split = array.reshape(shape.groups, shape.inputs, shape.outputs // shape.groups, shape.taps)
        turned = split.swapaxes(1, 2).swapaxes(2, 3)
    else:
        turned = array.reshape(shape.outputs, shape.inputs, shape.taps).swapaxes(1, 2)
    return turned.reshape(shape.outputs, shape.taps, shape.inputs)


def to_onnx_layout(layer: Layer, weight: Array) -> Array:
    """[O, T, I] -> the ONNX layout of the layer's weight; inverse of `canonical`."""
    shape, array = layer.shape, weight
    if layer.op == "Linear":
        return array.reshape(shape.outputs, shape.inputs)  # type: ignore[return-value]
    outputs = shape.outputs // shape.groups
    if layer.op == "Conv":
        turned: Any = array.swapaxes(1, 2)
        return turned.reshape(shape.outputs, shape.inputs, *layer.kernel_shape)
    split: Any = array.reshape(shape.groups, outputs, shape.taps, shape.inputs)
    turned = split.swapaxes(2, 3).swapaxes(1, 2)
    return turned.reshape(shape.groups * shape.inputs, outputs, *layer.kernel_shape)
