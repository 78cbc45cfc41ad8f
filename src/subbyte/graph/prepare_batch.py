"""A batch of 1 that an exporter baked into the graph is made dynamic where unambiguous.

Only done if every input has the static size 1 on its first axis. What then changes:

- the first axis of inputs and outputs gets the symbolic size ``N``;
- ``Reshape`` to a constant shape [1, ...] of a value whose first axis is 1 copies that axis
  (entry 0) if the other axes hold the same number of entries. For a batch of 1 this is the
  same operator, so nothing can go wrong there;
- ``Resize`` to constant sizes [1, C, ...] names its spatial axes only;
- a constant with first axis 1 that ``Concat`` joins with such values on another axis
  (a class token) is expanded to their batch.

Anything else runs as it is: correct for a batch of 1.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from subbyte.graph.ops.node import constant_array
from subbyte.graph.prepare_edit import Editor, static_sizes

BATCH = "N"


def has_baked_batch(model: ir.Model) -> bool:
    """Whether every graph input has first axis 1."""
    sizes = [static_sizes(value) for value in model.graph.inputs]
    return bool(sizes) and all(size and size[0] == 1 for size in sizes)


def free_batch(model: ir.Model) -> None:
    """Make the baked batch dynamic, in place; shapes of all other values are forgotten."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type == "Reshape":
            _free_reshape(editor, node)
        elif node.op_type == "Resize":
            _free_resize(editor, node)
        elif node.op_type == "Concat":
            _free_concat(editor, node)
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.shape is not None and len(value.shape) and value.shape[0] == 1:
            value.shape = ir.Shape([BATCH, *list(value.shape)[1:]])


def _free_reshape(editor: Editor, node: ir.Node) -> None:
    target, sizes = constant_array(node.inputs[1]), static_sizes(node.inputs[0])
    if target is None or not sizes or sizes[0] != 1 or not target.size or target[0] != 1:
        return
    rest = [int(size) for size in target[1:]]
    if 0 in rest or None in sizes:
        return
    if -1 not in rest and math.prod(rest) != math.prod(size or 0 for size in sizes[1:]):
        return
    node.attributes.pop("allowzero", None)  # no entry was 0, so it made no difference
    shape = editor.constant(f"{node.name}.shape", np.array([0, *rest], dtype=np.int64))
    node.replace_input_with(1, shape)


def _free_resize(editor: Editor, node: ir.Node) -> None:
    target = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    sizes = static_sizes(node.inputs[0])
    if target is None or sizes is None or "axes" in node.attributes:
        return
    if sizes[0] != 1 or sizes[:2] != target[:2].tolist():
        return
    spatial = editor.constant(f"{node.name}.sizes", target[2:].astype(np.int64))
    node.replace_input_with(3, spatial)
    node.attributes["axes"] = ir.AttrInt64s("axes", list(range(2, len(sizes))))


def _free_concat(editor: Editor, node: ir.Node) -> None:
    batched = [value for value in node.inputs if value and constant_array(value) is None]
    sizes = [static_sizes(value) for value in node.inputs]
    axis = node.attributes.get_int("axis", 0)
    if not batched or any(not size or size[0] != 1 for size in sizes):
        return
    rank = len(sizes[0] or ())
    if rank < 2 or axis % rank == 0:
        return
    for place, value in enumerate(node.inputs):
        array = constant_array(value)
        if array is not None and value is not None:
            _expand(editor, node, place, batched[0])


def _expand(editor: Editor, node: ir.Node, place: int, like: ir.Value) -> None:
    """Insert Expand(constant, [batch of ``like``, 1, 1, ...]) before input ``place``."""
    value = node.inputs[place]
    if value is None or value.shape is None:
        return
    base = f"{node.name}.{value.name}"
    batch = ir.node("Shape", [like], {"start": 0, "end": 1}, name=f"{base}.batch")
    ones = editor.constant(f"{base}.ones", np.ones(len(value.shape) - 1, dtype=np.int64))
    shape = ir.node("Concat", [batch.outputs[0], ones], {"axis": 0}, name=f"{base}.shape")
    wide = ir.node("Expand", [value, shape.outputs[0]], name=f"{base}.expand")
    lengths = ir.TensorType(ir.DataType.INT64)
    for made, kind in ((batch, lengths), (shape, lengths), (wide, value.type)):
        made.outputs[0].name = editor.unique(str(made.name))
        made.outputs[0].type = kind
        editor.graph.insert_before(node, made)
    node.replace_input_with(place, wide.outputs[0])
