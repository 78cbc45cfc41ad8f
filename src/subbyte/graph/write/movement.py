"""Data movement on stored feature maps: the standard operators, with their axes remapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.functions.body import TO_NHWC
from subbyte.graph.write.emitter import Emitter, Form, Kind, Layout

_PASSED = ("coordinate_transformation_mode", "nearest_mode", "mode")


def write_movement(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Write a node of `ranges.MOVEMENT` that is a candidate, on values of ``kind``."""
    _WRITERS[node.op_type](emitter, node, kind)


def position(axis: int, layout: Layout, rank: int) -> int:
    """Where ONNX's axis ``axis`` stands in ``layout``."""
    axis %= rank
    return axis if layout == "plain" else TO_NHWC.index(axis)


def _setting(emitter: Emitter, node: ir.Node, kind: Kind) -> tuple[Form, int, str, str]:
    """Form, rank, input and output names of a movement that works in either layout."""
    x = node.inputs[0]
    form: Form = (kind, emitter.layout(x))
    output = emitter.define(node.outputs[0], form)
    return form, query.rank(x) or 0, emitter.get(x, form), output


def _integers(node: ir.Node, index: int) -> list[int] | None:
    array = query.constant(query.optional_input(node, index))
    return None if array is None else [int(number) for number in array.reshape(-1)]


def _slice(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    starts, ends = _integers(node, 1) or [], _integers(node, 2) or []
    axes = _integers(node, 3) or list(range(len(starts)))
    steps = _integers(node, 4) or [1] * len(starts)
    places = [position(axis, layout, rank) for axis in axes]
    emitter.node("Slice", [x, *(emitter.ints(v) for v in (starts, ends, places, steps))], [y])


def _pad(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    given = _integers(node, 1) or []
    axes = _integers(node, 3) or list(range(rank))
    pads = np.zeros((2, rank), np.int64)
    for index, axis in enumerate(axes):
        place = position(axis, layout, rank)
        pads[:, place] = given[index], given[index + len(axes)]
    value = query.constant(query.optional_input(node, 2))
    fill = np.asarray(0 if value is None else value, np.float32)
    code = emitter.params_of(node.inputs[0]).quantize(fill) if kind == "uint8" else fill
    emitter.node("Pad", [x, emitter.ints(pads.reshape(-1)), emitter.array(code)], [y])


def _split(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    x = node.inputs[0]
    form: Form = (kind, emitter.layout(x))
    place = position(query.attribute(node, "axis", 0), form[1], query.rank(x) or 0)
    sizes = _integers(node, 1)
    inputs = [emitter.get(x, form)] + ([] if sizes is None else [emitter.ints(sizes)])
    outputs = [emitter.define(value, form) for value in node.outputs]
    made = emitter.node("Split", inputs, outputs, axis=place)
    if sizes is None:
        made.attribute.append(onnx.helper.make_attribute("num_outputs", len(outputs)))


def _resize(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    scales = query.known(node.inputs[2])
    order = TO_NHWC if layout == "last" else range(rank)
    attributes = {name: node.attributes[name].value for name in _PASSED if name in node.attributes}
    scale = emitter.array(scales[list(order)].astype(np.float32))
    emitter.node("Resize", [x, "", scale], [y], **attributes)


def _transpose(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """From either layout straight to the plain layout of the output."""
    x = node.inputs[0]
    rank = query.rank(x) or 0
    layout = emitter.layout(x)
    perm = query.attribute(node, "perm", list(reversed(range(rank))))
    places = [position(axis, layout, rank) for axis in perm]
    source = emitter.get(x, (kind, layout))
    emitter.node(
        "Transpose", [source], [emitter.define(node.outputs[0], (kind, "plain"))], perm=places
    )


def _reshape(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Flatten, Reshape, Squeeze, Unsqueeze: on ONNX's own order of axes.

    A map of one pixel becomes rows without a transpose, as both layouts hold the same bytes.
    """
    x, y = node.inputs[0], node.outputs[0]
    shape = query.dims(x)
    rows = query.rank(y) == 2 and shape is not None and shape[2:] == (1, 1)
    output = emitter.define(y, (kind, "plain"))
    if rows and emitter.layout(x) == "last" and _keeps_batch(node):
        emitter.node("Flatten", [emitter.get(x, (kind, "last"))], [output])
        return
    parameters = [emitter.operand(value) for value in node.inputs[1:] if value is not None]
    made = emitter.node(node.op_type, [emitter.get(x, (kind, "plain")), *parameters], [output])
    made.attribute.extend(map(ir.serde.serialize_attribute, node.attributes.values()))


def _keeps_batch(node: ir.Node) -> bool:
    """Whether the output's rows are the batch's samples."""
    x, y = query.dims(node.inputs[0]), query.dims(node.outputs[0])
    if node.op_type == "Flatten":
        return query.attribute(node, "axis", 1) in (1, -3)
    return x is not None and y is not None and (x[0] == y[0] or x[1] == y[1])


_WRITERS: Mapping[str, Callable[[Emitter, ir.Node, Kind], None]] = {
    "Slice": _slice,
    "Pad": _pad,
    "Split": _split,
    "Resize": _resize,
    "Transpose": _transpose,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
}
