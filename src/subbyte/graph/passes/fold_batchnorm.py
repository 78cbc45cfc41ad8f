"""BatchNorm and per-channel constant arithmetic after a layer go into its weight and bias.

A layer y = W x + b followed by s * y + t (one s and t per output channel) is the layer
with weight s * W and bias s * b + t. Sums are taken in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.ops import PREPARED
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.binary import keep_binarization

Array = NDArray[Any]
LAYERS = (("", "Conv"), ("", "ConvTranspose"), (PREPARED, "Linear"))


@dataclass(frozen=True)
class Affine:
    """y -> scale * y + shift per channel; None where there is nothing to do.

    ``source`` is the initializer that the shift came from.
    """

    scale: Array | None
    shift: Array | None
    source: ir.Value | None


def fold_affine(model: ir.Model) -> None:
    """Fold BatchNormalization, Add, Sub, Mul, Div after a layer whose output only they read."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        layer = _layer_before(node)
        if layer is None:
            continue
        outputs = _outputs(layer)
        if node.op_type == "BatchNormalization":
            affine = _batch_norm(node) if _channel_axis(layer) == 1 else None
        else:
            affine = _arithmetic(node, layer, outputs)
        if affine is not None and _is_finite(affine):
            _merge(editor, layer, node, affine, outputs)


def _layer_before(node: ir.Node) -> ir.Node | None:
    """The layer whose output ``node`` alone reads, if there is one."""
    if node.domain != "" or node.op_type not in ("BatchNormalization", "Add", "Sub", "Mul", "Div"):
        return None
    places = (0, 1) if node.op_type in ("Add", "Mul") else (0,)
    for place in places:
        value = node.inputs[place]
        layer = None if value is None else value.producer()
        if value is None or layer is None or (layer.domain, layer.op_type) not in LAYERS:
            continue
        constant = all(
            query.float_constant(entry) is not None for entry in layer.inputs[1:] if entry
        )
        if query.has_single_use(value) and constant:
            return layer
    return None


def _outputs(layer: ir.Node) -> int:
    shape = query.float_constant(layer.inputs[1]).shape  # type: ignore[union-attr]
    if layer.op_type == "ConvTranspose":
        return int(shape[1] * layer.attributes.get_int("group", 1))
    return int(shape[0])


def _channel_axis(layer: ir.Node) -> int | None:
    """The axis of the layer's output that counts output channels, if the rank is known."""
    if layer.op_type != "Linear":
        return 1
    rank = query.rank(layer.outputs[0])
    return None if rank is None else rank + layer.attributes.get_int("axis", -1)


def _batch_norm(node: ir.Node) -> Affine | None:
    arrays = [query.float_constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays) or len(node.outputs) > 1:
        return None
    gamma, beta, mean, var = (np.asarray(array, dtype=np.float64) for array in arrays)
    scale = gamma / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
    return Affine(scale, beta - mean * scale, node.inputs[2])


def _arithmetic(node: ir.Node, layer: ir.Node, outputs: int) -> Affine | None:
    other = node.inputs[1] if node.inputs[0] is layer.outputs[0] else node.inputs[0]
    array, axis = query.float_constant(other), _channel_axis(layer)
    rank = query.rank(layer.outputs[0])
    if rank is None and layer.op_type != "Linear":
        rank = len(query.constant(layer.inputs[1]).shape)  # type: ignore[union-attr]
    if array is None or axis is None or rank is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for place, size in enumerate(shape) if place != axis):
        return None
    if shape[axis] not in (1, outputs):
        return None
    vector = np.broadcast_to(array.reshape(-1), (outputs,)).astype(np.float64)
    if node.op_type in ("Mul", "Div"):
        with np.errstate(divide="ignore"):
            return Affine(vector if node.op_type == "Mul" else 1 / vector, None, None)
    whole = other if array.shape == (outputs,) and node.op_type == "Add" else None
    return Affine(None, vector if node.op_type == "Add" else -vector, whole)


def _is_finite(affine: Affine) -> bool:
    parts = [part for part in (affine.scale, affine.shift) if part is not None]
    return all(bool(np.isfinite(part).all()) for part in parts)


def _merge(editor: Editor, layer: ir.Node, node: ir.Node, affine: Affine, outputs: int) -> None:
    weight = layer.inputs[1]
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    if weight is None or (affine.scale is not None and not query.has_single_use(weight)):
        return
    kind = query.float_constant(weight).dtype  # type: ignore[union-attr]
    if affine.scale is not None:
        weight = editor.updated(weight, str(weight.name), _scaled(layer, affine.scale).astype(kind))
    total = np.zeros(outputs) if bias is None else np.array(query.constant(bias), np.float64)
    total = total if affine.scale is None else total * affine.scale
    total = total if affine.shift is None else total + affine.shift
    if bias is not None or affine.shift is not None:
        name = _bias_name(layer)
        source = bias if bias is not None else affine.source
        array = total.astype(kind)
        bias = (
            editor.constant(name, array) if source is None else editor.updated(source, name, array)
        )
    inputs = [layer.inputs[0], weight] + ([] if bias is None else [bias])
    merged = ir.node(
        layer.op_type, inputs, dict(layer.attributes), domain=layer.domain, name=layer.name
    )
    editor.replace([layer, node], keep_binarization(layer, merged))


def _bias_name(layer: ir.Node) -> str:
    weight = str(layer.inputs[1].name)  # type: ignore[union-attr]
    if weight.endswith(".weight"):
        return weight.removesuffix("weight") + "bias"
    return f"{layer.name}.bias"


def _scaled(layer: ir.Node, scale: Array) -> Array:
    weight = np.array(query.constant(layer.inputs[1]), dtype=np.float64)
    if layer.op_type != "ConvTranspose":
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    groups = layer.attributes.get_int("group", 1)
    split = weight.reshape(groups, -1, *weight.shape[1:])
    factors = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (split * factors).reshape(weight.shape)
