"""Which nodes, besides layers, can compute on uint8."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.graph import query

_SPATIAL = (2, 3)

POINTWISE = frozenset(
    {
        *("Abs", "Add", "BatchNormalization", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp"),
        *("Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish"),
        *("Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid"),
        *("Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu"),
    }
)


def is_candidate(node: ir.Node) -> bool:
    """Whether ``node`` can take and give uint8 values."""
    if not query.is_standard(node):
        return False
    if node.op_type not in _CHECKS and not is_pointwise(node):
        return False
    values = [*query.data_inputs(node), *node.outputs]
    if any(query.rank(value) is None for value in values) or not query.data_inputs(node):
        return False
    if not all(value.dtype == ir.DataType.FLOAT for value in node.outputs):
        return False
    return is_pointwise(node) or bool(_CHECKS[node.op_type](node))


def is_pointwise(node: ir.Node) -> bool:
    """Whether ``node`` maps each entry by itself: one moving operand, constants beside it.

    ReLU and Clip are not among these: on uint8 values they need no arithmetic.
    """
    if not query.is_standard(node, *POINTWISE) or node.op_type in ("Relu", "Clip"):
        return False
    rank = query.rank(node.outputs[0])
    if node.op_type == "BatchNormalization":
        constant = all(query.is_constant(value) for value in node.inputs[1:])
        return constant and rank == 4 and len(node.outputs) == 1
    moving = query.data_inputs(node)
    return len(moving) == 1 and rank is not None and query.rank(moving[0]) == rank


def is_arithmetic(node: ir.Node) -> bool:
    """Whether ``node`` computes with numbers, rather than select, move or average them."""
    return is_pointwise(node) or query.is_standard(node, "Add", "Mul")


def counts_beyond_padding(node: ir.Node) -> bool:
    """Whether onnxruntime's integer AveragePool would average wrongly: with ceil_mode it
    counts entries beyond the padding along with the padding."""
    return (
        query.is_standard(node, "AveragePool")
        and bool(query.attribute(node, "ceil_mode", 0))
        and bool(query.attribute(node, "count_include_pad", 0))
        and any(query.attribute(node, "pads", []))
    )


def spatial_mean(node: ir.Node) -> bool:
    """Whether a ReduceMean is the mean over both spatial axes of a feature map."""
    axes = query.constant(query.optional_input(node, 1))
    return (
        query.rank(node.inputs[0]) == 4
        and axes is not None
        and sorted(int(axis) % 4 for axis in axes.reshape(-1)) == list(_SPATIAL)
    )


def _is_map(node: ir.Node) -> bool:
    return query.rank(node.inputs[0]) == 4


def _max_pool(node: ir.Node) -> bool:
    column_major = query.attribute(node, "storage_order", 0)
    return _is_map(node) and _explicit(node) and len(node.outputs) == 1 and not column_major


def _average_pool(node: ir.Node) -> bool:
    spread = any(dilation != 1 for dilation in query.attribute(node, "dilations", []))
    return _is_map(node) and _explicit(node) and not spread and not counts_beyond_padding(node)


def _explicit(node: ir.Node) -> bool:
    return bool(query.attribute(node, "auto_pad", "NOTSET") == "NOTSET")


def _two_dynamic(node: ir.Node) -> bool:
    a, b = node.inputs
    dynamic = not query.is_constant(a) and not query.is_constant(b)
    return dynamic and query.rank(a) == query.rank(b)


def _all_dynamic(node: ir.Node) -> bool:
    return len(query.data_inputs(node)) == len(node.inputs) > 1


def _constant_parameters(node: ir.Node) -> bool:
    """One moving input; where to, is known."""
    rest = [value for value in node.inputs[1:] if value is not None]
    return all(query.is_constant(value) for value in rest)


def _pad(node: ir.Node) -> bool:
    mode = query.attribute(node, "mode", "constant")
    return mode == "constant" and _constant_parameters(node)


def _resize(node: ir.Node) -> bool:
    """Nearest neighbour, spatial axes only."""
    if not (_is_map(node) and _constant_parameters(node) and len(node.inputs) > 2):
        return False
    if query.attribute(node, "mode", "nearest") != "nearest":
        return False
    if query.attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
        # Beyond the image it gives a number, which is no code.
        return False
    scales = query.constant(query.optional_input(node, 2))
    return scales is not None and scales.size == 4 and bool(np.all(scales[:2] == 1))


def _clamp(node: ir.Node) -> bool:
    return query.clip_bounds(node) is not None


_CHECKS = {
    "Add": _two_dynamic,
    "Mul": _two_dynamic,
    "Concat": _all_dynamic,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _is_map,
    "ReduceMean": spatial_mean,
    "Relu": _clamp,
    "Clip": _clamp,
    "Slice": _constant_parameters,
    "Pad": _pad,
    "Flatten": _constant_parameters,
    "Reshape": _constant_parameters,
    "Transpose": _constant_parameters,
    "Squeeze": _constant_parameters,
    "Unsqueeze": _constant_parameters,
    "Split": _constant_parameters,
    "Resize": _resize,
}
