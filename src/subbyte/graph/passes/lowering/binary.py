"""Layers that were trained binary become standard nodes with the weight they multiply with.

How the input is binarized stays with the node as metadata: shapes, padding, BatchNorm after
the layer and the islands then need to know nothing of it. (A BatchNorm folded into a binary
weight, s * alpha * B, leaves it binary.)
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.ops.binary import DOMAIN, LINEAR, TRAINED
from subbyte.graph.passes.editor import Editor
from subbyte.methods.binarization import BINARIZATIONS, Binarization, scales_named

KEY = "subbyte.binary"
_WINDOW = ("kernel_shape", "strides", "pads", "dilations", "group")


def lower_binary(model: ir.Model) -> None:
    """Replace every ResidualBinaryConv by a Conv, every ResidualBinaryLinear by a MatMul."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.domain == DOMAIN and node.op_type in TRAINED:
            _lower(editor, node)
    editor.finish()


def binarization_of_node(node: ir.Node) -> Binarization | None:
    """How the input of a node of the prepared graph is binarized, if it is."""
    return BINARIZATIONS.get(node.metadata_props.get(KEY, ""))


def keep_binarization(old: ir.Node, new: ir.Node) -> ir.Node:
    """``new``, which takes the place of ``old``, with the metadata that goes with its input."""
    if KEY in old.metadata_props:
        new.metadata_props[KEY] = old.metadata_props[KEY]
    return new


def _lower(editor: Editor, node: ir.Node) -> None:
    x, latent = node.inputs[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    array = query.float_constant(latent)
    if array is None or latent is None:
        raise TypeError(f"node {node.name} has no constant weight")
    mean = np.abs(array).mean(tuple(range(1, array.ndim)), keepdims=True, dtype=np.float64)
    weight = np.where(array < 0, -mean, mean).astype(array.dtype)
    linear = node.op_type == LINEAR
    value = editor.derive(latent, "binary", weight.T if linear else weight)
    scales = "column" if linear else node.attributes.get_string("scales", "column")
    order = node.attributes.get_int("order", 2)
    if linear:
        made = ir.node("MatMul", [x, value], name=node.name)
    else:
        attributes = {key: node.attributes[key] for key in _WINDOW if key in node.attributes}
        inputs = [x, value] if bias is None else [x, value, bias]
        made = ir.node("Conv", inputs, attributes, name=node.name)
    made.metadata_props[KEY] = Binarization(order, scales_named(scales)).variant
    if linear and bias is not None:
        made.outputs[0].name = editor.unique(f"{node.outputs[0].name}.product")
        editor.graph.insert_before(node, made)
        made = ir.node("Add", [made.outputs[0], bias], name=f"{node.name}.add")
    editor.replace([node], made)
