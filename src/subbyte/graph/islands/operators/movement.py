"""Movement of entries: the standard operators on stored feature maps, with axes remapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, Kind, ValueLayout, position
from subbyte.graph.functions.body import TO_NHWC, Body, make_function
from subbyte.graph.islands.intervals import EVERYTHING, Interval, hull
from subbyte.graph.islands.operators.registry import IslandOperator, everything, operator
from subbyte.graph.islands.operators.rules import (
    ZERO,
    constant_parameters,
    is_map,
    of_input,
    of_output,
)

_TURNED = [0, 1, 2, 4, 3]
_PASSED = ("coordinate_transformation_mode", "nearest_mode", "mode")
_MOVES = IslandOperator(
    supported=constant_parameters,
    interval=of_input,
    needed=of_output,
    shares="input",
    moves=True,
)


def _setting(emitter: Emitter, node: ir.Node, kind: Kind) -> tuple[ValueLayout, int, str, str]:
    """Value layout, rank, input and output names of a movement that works in either layout."""
    x = node.inputs[0]
    form: ValueLayout = (kind, emitter.layout(x))
    output = emitter.define(node.outputs[0], form)
    return form, query.rank(x) or 0, emitter.get(x, form), output


def _integers(node: ir.Node, index: int) -> list[int] | None:
    array = query.constant(query.optional_input(node, index))
    return None if array is None else [int(number) for number in array.reshape(-1)]


@operator("Slice", row=_MOVES)
def slice_(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Slice, its axes where the layout has them."""
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    starts, ends = _integers(node, 1) or [], _integers(node, 2) or []
    axes = _integers(node, 3) or list(range(len(starts)))
    steps = _integers(node, 4) or [1] * len(starts)
    places = [position(axis, layout, rank) for axis in axes]
    emitter.node("Slice", [x, *(emitter.ints(v) for v in (starts, ends, places, steps))], [y])


def _channels(node: ir.Node) -> bool:
    """Whether a Gather takes known channels of a feature map, each from its begin."""
    indices = query.constant(node.inputs[1])
    return (
        is_map(node)
        and query.attribute(node, "axis", 0) in (1, -3)
        and indices is not None
        and indices.ndim == 1
        and bool((indices >= 0).all())
    )


@operator("Gather", row=replace(_MOVES, supported=_channels))
def gather(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Channels in another order; a shuffle of groups, channels last, as a Transpose of pixels."""
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    indices = query.known(node.inputs[1])
    every = (query.dims(node.inputs[0]) or ())[1:2] == (len(indices),)
    groups = _shuffled_groups(indices) if every and layout == "last" else None
    if groups is None:
        places = emitter.ints(indices)
        emitter.node("Gather", [x, places], [y], axis=position(1, layout, rank))
        return
    shape, joined = [0, 0, 0, groups, len(indices) // groups], [0, 0, 0, len(indices)]
    if kind == "uint8":
        emitter.call(shuffle_function(emitter.opset), [x], [y], shape=shape, joined=joined)
        return
    apart, turned = emitter.fresh(), emitter.fresh()
    emitter.node("Reshape", [x, emitter.ints(shape)], [apart])
    emitter.node("Transpose", [apart], [turned], perm=_TURNED)
    emitter.node("Reshape", [turned, emitter.ints(joined)], [y])


def shuffle_function(opset: int) -> onnx.FunctionProto:
    """``Shuffle``: channels [g, c] of every pixel become [c, g].

    ``shape``: [0, 0, 0, g, c], to which x [N, H, W, g * c] is reshaped, and ``joined``, to which
    the result is: [0, 0, 0, g * c]. Sizes of 0 stay.
    """
    body = Body()
    apart = body.op("Reshape", "x", body.attribute("shape", "ints"))
    turned = body.op("Transpose", apart, perm=_TURNED)
    body.op("Reshape", turned, body.attribute("joined", "ints"), output="y")
    return make_function("Shuffle", ["x"], ["y"], body.nodes, ["shape", "joined"], opset)


def _shuffled_groups(indices: NDArray[np.int64]) -> int | None:
    """g where ``indices``, as many as x has channels, are those of [g, c] turned to [c, g]."""
    count = len(indices)
    for groups in range(2, count):
        if count % groups == 0 and indices[1] == count // groups:
            order = np.arange(count).reshape(groups, -1).T.reshape(-1)
            return groups if np.array_equal(order, indices) else None
    return None


def _known_pad(node: ir.Node) -> bool:
    return _mode(node) in ("constant", "reflect", "edge") and constant_parameters(node)


def _mode(node: ir.Node) -> str:
    return str(query.attribute(node, "mode", "constant"))


def _filling(node: ir.Node) -> Interval:
    value = query.optional_input(node, 2)
    if value is None:
        return ZERO
    array = query.constant(value)
    return EVERYTHING if array is None else Interval(float(array.item()), float(array.item()))


def _with_filling(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    return hull([inputs[0], _filling(node)]) if _mode(node) == "constant" else inputs[0]


def _needed_beside_filling(node: ir.Node, outputs: Interval) -> Interval:
    copies = _mode(node) != "constant" or _filling(node).within(outputs)
    return outputs if copies else EVERYTHING


@operator(
    "Pad",
    row=replace(
        _MOVES,
        supported=_known_pad,
        interval=_with_filling,
        needed=_needed_beside_filling,
    ),
)
def pad(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Pad with entries of x, or with a constant: on uint8 with its code."""
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    given = _integers(node, 1) or []
    axes = _integers(node, 3) or list(range(rank))
    pads = np.zeros((2, rank), np.int64)
    for index, axis in enumerate(axes):
        place = position(axis, layout, rank)
        pads[:, place] = given[index], given[index + len(axes)]
    if _mode(node) != "constant":
        emitter.node("Pad", [x, emitter.ints(pads.reshape(-1))], [y], mode=_mode(node))
        return
    value = query.constant(query.optional_input(node, 2))
    fill = np.asarray(0 if value is None else value, np.float32)
    code = emitter.params_of(node.inputs[0]).quantize(fill) if kind == "uint8" else fill
    emitter.node("Pad", [x, emitter.ints(pads.reshape(-1)), emitter.array(code)], [y])


@operator("Split", row=_MOVES)
def split(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Split, its axis where the layout has it."""
    x = node.inputs[0]
    form: ValueLayout = (kind, emitter.layout(x))
    place = position(query.attribute(node, "axis", 0), form[1], query.rank(x) or 0)
    sizes = _integers(node, 1)
    inputs = [emitter.get(x, form)] + ([] if sizes is None else [emitter.ints(sizes)])
    outputs = [emitter.define(value, form) for value in node.outputs]
    made = emitter.node("Split", inputs, outputs, axis=place)
    if sizes is None:
        made.attribute.append(onnx.helper.make_attribute("num_outputs", len(outputs)))


def _nearest(node: ir.Node) -> bool:
    """Nearest neighbour, spatial axes only."""
    if not (is_map(node) and constant_parameters(node) and len(node.inputs) > 2):
        return False
    if query.attribute(node, "mode", "nearest") != "nearest":
        return False
    if query.attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
        # Beyond the image it gives a number, which is no code.
        return False
    scales = query.constant(query.optional_input(node, 2))
    return scales is not None and scales.size == 4 and bool(np.all(scales[:2] == 1))


@operator("Resize", row=replace(_MOVES, supported=_nearest, needed=everything))
def resize(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Resize to the nearest neighbour."""
    (_, layout), rank, x, y = _setting(emitter, node, kind)
    scales = query.known(node.inputs[2])
    order = TO_NHWC if layout == "last" else range(rank)
    attributes = {name: node.attributes[name].value for name in _PASSED if name in node.attributes}
    scale = emitter.array(scales[list(order)].astype(np.float32))
    emitter.node("Resize", [x, "", scale], [y], **attributes)


@operator("Transpose", row=_MOVES)
def transpose(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """Write a Transpose from either layout straight to the plain layout of the output."""
    x = node.inputs[0]
    rank = query.rank(x) or 0
    layout = emitter.layout(x)
    perm = query.attribute(node, "perm", list(reversed(range(rank))))
    places = [position(axis, layout, rank) for axis in perm]
    source = emitter.get(x, (kind, layout))
    emitter.node(
        "Transpose", [source], [emitter.define(node.outputs[0], (kind, "plain"))], perm=places
    )


@operator("Flatten", "Reshape", "Squeeze", "Unsqueeze", row=_MOVES)
def reshape(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
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


def _all_moving(node: ir.Node) -> bool:
    return len(query.data_inputs(node)) == len(node.inputs) > 1


def _of_all(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    return hull(inputs)


@operator(
    "Concat",
    row=IslandOperator(
        supported=_all_moving, interval=_of_all, needed=of_output, shares="joined", moves=True
    ),
)
def concat(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.Concat<count>``; the standard operator where all parameters are the same."""
    form: ValueLayout = (kind, emitter.layout(*query.data_inputs(node)))
    y = node.outputs[0]
    axis = position(query.attribute(node, "axis"), form[1], query.rank(y) or 1)
    params = emitter.params_of
    if kind == "float" or all(params(value) == params(y) for value in node.inputs):
        inputs = [emitter.get(value, form) for value in node.inputs]
        emitter.node("Concat", inputs, [emitter.define(y, form)], axis=axis)
        return
    inputs = [name for value in node.inputs for name in emitter.quantized(value, form)]
    inputs += emitter.quantization(y)
    function = concat_function(len(node.inputs), emitter.opset)
    emitter.call(function, inputs, [emitter.define(y, form)], axis=axis)


def concat_function(count: int, opset: int) -> onnx.FunctionProto:
    """``Concat<count>``: join along ``axis``, each input brought to the output's parameters."""
    body = Body()
    inputs, values = [], []
    for index in range(count):
        names = [f"x{index}", f"x{index}_scale", f"x{index}_zero"]
        inputs += names
        values.append(body.op("DequantizeLinear", *names))
    joined = body.op("Concat", *values)
    body.refer(axis="int")
    body.op("QuantizeLinear", joined, "y_scale", "y_zero", output="y")
    inputs += ["y_scale", "y_zero"]
    return make_function(f"Concat{count}", inputs, ["y"], body.nodes, ["axis"], opset)
