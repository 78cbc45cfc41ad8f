"""A weight between its ONNX layout and the canonical W[O, T, I].

ONNX layouts: Conv [O, I, k...], ConvTranspose [groups * I, O / groups, k...],
Linear [O, I], with I input channels per group; of an `Unpacked` weight in order ``stored``
[..., O, I] (or whole rows [O, ...]), in order ``turned`` [..., I, O]. Both functions take and
give numpy arrays or torch tensors (views where possible) of any element type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from subbyte.graph.nested import leads_to
from subbyte.graph.network import Layer, LayerOp, Network, Order, Unpacked, Weighted
from subbyte.methods import LayerTraits

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


def traits_of(layer: Weighted, weight: Callable[[], Tensor] | None = None) -> LayerTraits:
    """The facts of a layer that a method may know; ``weight``: gives its weight [O, T, I]."""
    unpacked = isinstance(layer, Unpacked)
    return LayerTraits(
        layer.shape,
        weight or _no_weight,
        linear=layer.op == "Linear",
        unpacked=unpacked,
        binarizes=isinstance(layer, Layer) and has_binary_form(layer),
    )


def _no_weight() -> Tensor:
    raise ValueError("the layer's weight is not given")


def order_of(layer: Weighted) -> Order:
    """How the stored weight becomes W[O, T, I]."""
    if isinstance(layer, Unpacked):
        return layer.order
    return _ORDERS[layer.op]


_ORDERS: Mapping[LayerOp, Order] = {
    "Conv": "kernel",
    "ConvTranspose": "transposed kernel",
    "Linear": "stored",
}


def canonical(layer: Weighted, weight: Array) -> Array:
    """``weight`` in ONNX layout -> [O, T, I]."""
    shape, order = layer.shape, order_of(layer)
    array: Any = weight
    if order == "transposed kernel":
        split = array.reshape(shape.groups, shape.inputs, shape.outputs // shape.groups, shape.taps)
        turned = split.swapaxes(1, 2).swapaxes(2, 3)
    elif order == "turned":
        turned = array.swapaxes(-1, -2)
    elif order == "kernel":
        turned = array.reshape(shape.outputs, shape.inputs, shape.taps).swapaxes(1, 2)
    else:
        turned = array
    return turned.reshape(shape.outputs, shape.taps, shape.inputs)


def to_onnx_layout(layer: Weighted, weight: Array) -> Array:
    """[O, T, I] -> the ONNX layout of the layer's weight; inverse of `canonical`."""
    shape, array, order = layer.shape, weight, order_of(layer)
    stored = layer.stored if isinstance(layer, Unpacked) else None
    if order == "stored":
        return array.reshape(stored or (shape.outputs, shape.inputs))  # type: ignore[return-value]
    outputs = shape.outputs // shape.groups
    if order == "turned":
        assert stored is not None  # noqa: S101 - of unpacked weights alone
        split: Any = array.reshape(*stored[:-2], stored[-1], stored[-2])
        return split.swapaxes(-1, -2)
    kernel = stored[2:] if stored else layer.kernel_shape  # type: ignore[union-attr]
    if order == "kernel":
        turned: Any = array.swapaxes(1, 2)
        return turned.reshape(shape.outputs, shape.inputs, *kernel)
    split = array.reshape(shape.groups, outputs, shape.taps, shape.inputs)
    turned = split.swapaxes(2, 3).swapaxes(1, 2)
    return turned.reshape(shape.groups * shape.inputs, outputs, *kernel)
