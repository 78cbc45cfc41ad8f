"""How each operator computes when an axis of length one is put into its sequences.

A sequence is a value of three axes, [N, C, L] in networks of 1-D convolutions. With an axis of
length one at ``at``, 2 by default, it is a feature map of height one, [N, C, 1, L]. A row of
`ROWS` says whether a node can take and give maps instead, and changes its attributes and
constants so that it does. The numbers that it computes stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor

RANK = 3
"""Axes of a sequence."""


@dataclass(frozen=True)
class SequenceOperator:
    """A row of the table.

    ``accepts``: whether a node, whose ranks are known, computes the same on maps. ``rewrite``:
    changes its attributes and constants. ``operands``: its sequences: the first input, or every
    input that is not constant. ``window``: it slides a window along the sequence; such nodes are
    why sequences become maps.
    """

    accepts: Callable[[ir.Node], bool]
    rewrite: Callable[[Editor, ir.Node, int], None]
    operands: Literal["first", "all"] = "first"
    window: bool = False


ROWS: dict[str, SequenceOperator] = {}


def row_of(node: ir.Node, at: int) -> SequenceOperator | None:
    """The row by which ``node`` can compute on maps; None where it cannot.

    Windows and statistics of channels need the channels on axis 1, before ``at``.
    """
    row = ROWS.get(node.op_type) if query.is_standard(node) else None
    if row is None or (at == 1 and (row.window or node.op_type in _BY_CHANNEL)):
        return None
    operands = sequences(node, row)
    known = row.window or (operands and all(query.rank(v) == RANK for v in operands))
    return row if known and row.accepts(node) else None


def sequences(node: ir.Node, row: SequenceOperator) -> list[ir.Value]:
    """The inputs of ``node`` that become maps."""
    if row.operands == "first":
        return [value for value in node.inputs[:1] if value is not None]
    # A number that is computed broadcasts to maps as to sequences.
    return [value for value in query.data_inputs(node) if query.rank(value) != 0]


def _anything(node: ir.Node) -> bool:
    return True


def _unchanged(editor: Editor, node: ir.Node, at: int) -> None:
    """Nothing in the node counts axes."""


def _register(row: SequenceOperator, *op_types: str) -> None:
    ROWS.update(dict.fromkeys(op_types, row))


def _moved(axis: int, at: int) -> int:
    """Where an axis of a sequence stands in a map; negative where it was."""
    place = axis % RANK
    place += place >= at
    return place - RANK - 1 if axis < 0 else place


def _set_integers(node: ir.Node, name: str, values: Sequence[int]) -> None:
    node.attributes[name] = ir.AttrInt64s(name, list(values))


def _integers(node: ir.Node, place: int) -> list[int] | None:
    array = query.constant(query.optional_input(node, place))
    return None if array is None else [int(number) for number in array.reshape(-1)]


def _give(editor: Editor, node: ir.Node, place: int, values: Sequence[int]) -> None:
    """Make ``values`` the constant input ``place``."""
    constant = editor.constant(f"{node.name}.input{place}", np.array(values, np.int64))
    if place >= len(node.inputs):
        node.resize_inputs(place + 1)
    node.replace_input_with(place, constant)


# windows --------------------------------------------------------------------------------


def _windows(node: ir.Node) -> bool:
    if len(node.outputs) != 1:
        return False
    if node.op_type not in ("Conv", "ConvTranspose"):
        return query.rank(node.inputs[0]) == RANK
    weight = query.float_constant(node.inputs[1])
    return weight is not None and weight.ndim == RANK


def _widen_window(editor: Editor, node: ir.Node, at: int) -> None:
    """A window of length one along the new axis, which neither pads nor moves."""
    place = at - 2
    for name, one in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("output_padding", 0)):
        values = node.attributes.get_ints(name, None)
        if values is not None:
            _set_integers(node, name, [*values[:place], one, *values[place:]])
    pads = node.attributes.get_ints("pads", None)
    if pads is not None:
        halves = (pads[:1], pads[1:])
        _set_integers(node, "pads", [n for h in halves for n in (*h[:place], 0, *h[place:])])
    shape = node.attributes.get_ints("output_shape", None)
    if shape is not None:
        # The batch and the channels may stand before the length.
        place += len(shape) - 1
        _set_integers(node, "output_shape", [*shape[:place], 1, *shape[place:]])
    if node.op_type in ("Conv", "ConvTranspose"):
        source = node.inputs[1]
        assert source is not None  # noqa: S101 - accepted with a constant weight alone
        weight = np.expand_dims(query.known(source), at)
        node.replace_input_with(1, editor.derive(source, f"map{at}", weight))


_register(
    SequenceOperator(_windows, _widen_window, window=True),
    *("AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"),
)

# entries --------------------------------------------------------------------------------


def _broadcasts(node: ir.Node) -> bool:
    return all(value is None or (query.rank(value) or 0) <= RANK for value in node.inputs)


def _widen_constants(editor: Editor, node: ir.Node, at: int) -> None:
    """Constants with the axis where they have axes before it."""
    for place, value in enumerate(node.inputs):
        if value is None or not query.is_constant(value):
            continue
        array = query.known(value)
        before = at - (RANK - array.ndim)
        if before > 0 and array.size > 1:
            wider = editor.derive(value, f"map{at}", np.expand_dims(array, before))
            node.replace_input_with(place, wider)


_register(
    SequenceOperator(_broadcasts, _widen_constants, operands="all"),
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil"),
    *("Celu", "Clip", "Cos", "Cosh", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu"),
    *("Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu"),
    *("Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not"),
    *("Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign"),
    *("Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh"),
    *("ThresholdedRelu", "Where", "Xor"),
)

# statistics -----------------------------------------------------------------------------


def _one_output(node: ir.Node) -> bool:
    return len(node.outputs) == 1


_BY_CHANNEL = (
    *("BatchNormalization", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"),
    *("GroupNormalization", "InstanceNormalization"),
)
"""Operators that take axis 1 as the channels and the axes behind it as one."""

_register(SequenceOperator(_one_output, _unchanged), *_BY_CHANNEL)


def _move_axis(default: int | None) -> Callable[[Editor, ir.Node, int], None]:
    def rewrite(editor: Editor, node: ir.Node, at: int) -> None:
        axis = query.attribute(node, "axis", default)
        node.attributes["axis"] = ir.AttrInt64("axis", _moved(axis, at))

    return rewrite


_register(
    SequenceOperator(_anything, _move_axis(-1)),
    *("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"),
)


def _keeps_axis(node: ir.Node) -> bool:
    return bool(query.attribute(node, "keepdims", 1))


_register(SequenceOperator(_keeps_axis, _move_axis(0)), "ArgMax", "ArgMin")


def _known_axes(node: ir.Node) -> bool:
    axes = query.optional_input(node, 1)
    return axes is None or _integers(node, 1) is not None


def _move_reduced(editor: Editor, node: ir.Node, at: int) -> None:
    """Axes where maps have them.

    The new one is among them where axes go, and where the mean is over all the places of a map.
    """
    axes = _integers(node, 1)
    if not axes:
        return
    places = [_moved(axis % RANK, at) for axis in axes]
    if not _keeps_axis(node) or (at > 1 and 2 in (axis % RANK for axis in axes)):
        places = sorted({*places, at})
    _give(editor, node, 1, places)


_register(
    SequenceOperator(_known_axes, _move_reduced),
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)

# movement -------------------------------------------------------------------------------


def _all_sequences(node: ir.Node) -> bool:
    return all(value is None or query.rank(value) == RANK for value in node.inputs)


def _join(editor: Editor, node: ir.Node, at: int) -> None:
    _widen_constants(editor, node, at)
    for place, value in enumerate(node.inputs):
        # A constant of one number too: no axis of a Concat broadcasts.
        if value is not None and query.is_constant(value) and query.rank(value) == RANK:
            array = np.expand_dims(query.known(value), at)
            node.replace_input_with(place, editor.derive(value, f"map{at}", array))
    _move_axis(None)(editor, node, at)


_register(SequenceOperator(_all_sequences, _join, operands="all"), "Concat")
_register(SequenceOperator(_anything, _move_axis(0)), "Split")


def _takes_rows(node: ir.Node) -> bool:
    return query.rank(node.inputs[1]) == 1


_register(SequenceOperator(_takes_rows, _move_axis(0)), "Gather")


def _sliced_axes(node: ir.Node) -> list[int] | None:
    if query.optional_input(node, 3) is not None:
        return _integers(node, 3)
    sizes = query.static_sizes(node.inputs[1])
    return list(range(sizes[0])) if sizes and sizes[0] is not None else None


def _has_sliced_axes(node: ir.Node) -> bool:
    return _sliced_axes(node) is not None


def _move_slice(editor: Editor, node: ir.Node, at: int) -> None:
    _give(editor, node, 3, [_moved(axis, at) for axis in _sliced_axes(node) or ()])


_register(SequenceOperator(_has_sliced_axes, _move_slice), "Slice")


def _padded_axes(node: ir.Node) -> list[int] | None:
    if query.optional_input(node, 3) is not None:
        return _integers(node, 3)
    return list(range(RANK))


def _has_padded_axes(node: ir.Node) -> bool:
    return _padded_axes(node) is not None


def _move_pad(editor: Editor, node: ir.Node, at: int) -> None:
    _give(editor, node, 3, [_moved(axis, at) for axis in _padded_axes(node) or ()])


_register(SequenceOperator(_has_padded_axes, _move_pad), "Pad")


def _resizes_by_constants(node: ir.Node) -> bool:
    by_crop = query.attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize"
    stretched = query.attribute(node, "keep_aspect_ratio_policy", "stretch") == "stretch"
    if by_crop or not stretched or query.attribute(node, "axes") is not None:
        return False
    given = [value for value in node.inputs[2:] if value is not None]
    return all(query.is_constant(value) for value in given)


def _widen_resize(editor: Editor, node: ir.Node, at: int) -> None:
    """Keep the length of the new axis: a scale or size of one."""
    for place in range(2, len(node.inputs)):
        value = query.constant(node.inputs[place])
        if value is not None and value.size:
            wider = editor.constant(f"{node.name}.input{place}", np.insert(value, at, 1))
            node.replace_input_with(place, wider)


_register(SequenceOperator(_resizes_by_constants, _widen_resize), "Resize")


def _split_flat(editor: Editor, node: ir.Node, at: int) -> None:
    """Flatten: the axis stands between the two outputs."""
    axis = query.attribute(node, "axis", 1)
    axis += RANK * (axis < 0)
    node.attributes["axis"] = ir.AttrInt64("axis", axis + (axis > at))


_register(SequenceOperator(_anything, _split_flat), "Flatten")


def _drops_known_axes(node: ir.Node) -> bool:
    return bool(_integers(node, 1))


def _drop_axis_too(editor: Editor, node: ir.Node, at: int) -> None:
    places = [_moved(axis % RANK, at) for axis in _integers(node, 1) or ()]
    _give(editor, node, 1, sorted({*places, at}))


_register(SequenceOperator(_drops_known_axes, _drop_axis_too), "Squeeze")
