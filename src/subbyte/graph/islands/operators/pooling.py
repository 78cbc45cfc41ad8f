"""Pooling of feature maps: the greatest or the mean of a window, or of the whole map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, Kind
from subbyte.graph.functions.body import TO_NCHW, TO_NHWC, Body, make_function
from subbyte.graph.islands.intervals import Interval, hull
from subbyte.graph.islands.operators.registry import IslandOperator, operator
from subbyte.graph.islands.operators.rules import ZERO, is_map, of_input, of_output

_SPATIAL = (2, 3)


def _explicit(node: ir.Node) -> bool:
    return bool(query.attribute(node, "auto_pad", "NOTSET") == "NOTSET")


def _max_pool(node: ir.Node) -> bool:
    column_major = query.attribute(node, "storage_order", 0)
    return is_map(node) and _explicit(node) and len(node.outputs) == 1 and not column_major


@operator(
    "MaxPool",
    row=IslandOperator(supported=_max_pool, interval=of_input, needed=of_output, shares="input"),
)
def max_pool(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.MaxPool``."""
    attributes = {
        **_window(node),
        "dilations": list(query.attribute(node, "dilations", [1, 1])),
        "ceil_mode": query.attribute(node, "ceil_mode", 0),
    }
    x = emitter.get(node.inputs[0], ("uint8", "last"))
    y = emitter.define(node.outputs[0], ("uint8", "last"))
    emitter.call(max_pool_function(emitter.opset), [x], [y], **attributes)


def max_pool_function(opset: int) -> onnx.FunctionProto:
    """``MaxPool``: the standard operator on uint8 NHWC; parameters do not change."""
    body = Body()
    x = body.op("Transpose", "x", perm=TO_NCHW)
    y = body.op("MaxPool", x)
    body.refer(kernel_shape="ints", strides="ints", pads="ints", dilations="ints", ceil_mode="int")
    body.op("Transpose", y, perm=TO_NHWC, output="y")
    return make_function("MaxPool", ["x"], ["y"], body.nodes, list(body.attributes), opset)


def counts_beyond_padding(node: ir.Node) -> bool:
    """Whether onnxruntime's integer AveragePool would average wrongly: with ceil_mode it
    counts entries beyond the padding along with the padding."""
    return (
        query.is_standard(node, "AveragePool")
        and bool(query.attribute(node, "ceil_mode", 0))
        and bool(query.attribute(node, "count_include_pad", 0))
        and any(query.attribute(node, "pads", []))
    )


def _average_pool(node: ir.Node) -> bool:
    spread = any(dilation != 1 for dilation in query.attribute(node, "dilations", []))
    return is_map(node) and _explicit(node) and not spread and not counts_beyond_padding(node)


def _of_window(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    padded = query.attribute(node, "count_include_pad", 0)
    return hull([inputs[0], ZERO]) if padded else inputs[0]


@operator("AveragePool", row=IslandOperator(supported=_average_pool, interval=_of_window))
def average_pool(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.AveragePool``."""
    padded = any(query.attribute(node, "pads", []))
    attributes = {
        **_window(node),
        "ceil_mode": query.attribute(node, "ceil_mode", 0),
        # There may be no padding to count.
        "count_include_pad": int(padded and query.attribute(node, "count_include_pad", 0)),
    }
    _average(emitter, node, average_pool_function(emitter.opset), attributes)


def average_pool_function(opset: int) -> onnx.FunctionProto:
    """``AveragePool``: the standard operator on uint8 NHWC."""

    def pool(body: Body, x: str) -> str:
        y = body.op("AveragePool", x)
        body.refer(kernel_shape="ints", strides="ints", pads="ints")
        body.refer(ceil_mode="int", count_include_pad="int")
        return y

    return _average_function("AveragePool", pool, opset)


@operator("GlobalAveragePool", row=IslandOperator(supported=is_map, interval=of_input))
def global_average_pool(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.GlobalAveragePool``."""
    _average(emitter, node, global_average_pool_function(emitter.opset), {})


def _spatial_mean(node: ir.Node) -> bool:
    """Whether a ReduceMean is the mean over both spatial axes of a feature map."""
    axes = query.constant(query.optional_input(node, 1))
    return (
        is_map(node)
        and axes is not None
        and sorted(int(axis) % 4 for axis in axes.reshape(-1)) == list(_SPATIAL)
    )


@operator("ReduceMean", row=IslandOperator(supported=_spatial_mean, interval=of_input))
def spatial_mean(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.GlobalAveragePool``, flattened where the axes are not kept."""
    function = global_average_pool_function(emitter.opset)
    _average(emitter, node, function, {}, bool(query.attribute(node, "keepdims", 1)))


def global_average_pool_function(opset: int) -> onnx.FunctionProto:
    """``GlobalAveragePool``: [N, H, W, C] -> [N, 1, 1, C]."""

    def pool(body: Body, x: str) -> str:
        return body.op("GlobalAveragePool", x)

    return _average_function("GlobalAveragePool", pool, opset)


def _window(node: ir.Node) -> dict[str, object]:
    return {
        "kernel_shape": list(query.attribute(node, "kernel_shape")),
        "strides": list(query.attribute(node, "strides", [1, 1])),
        "pads": list(query.attribute(node, "pads", [0, 0, 0, 0])),
    }


def _average(
    emitter: Emitter,
    node: ir.Node,
    function: onnx.FunctionProto,
    attributes: Mapping[str, object],
    keep: bool = True,
) -> None:
    y = node.outputs[0]
    inputs = emitter.quantized(node.inputs[0], ("uint8", "last")) + emitter.quantization(y)
    if keep:
        emitter.call(function, inputs, [emitter.define(y, ("uint8", "last"))], **attributes)
        return
    pooled = emitter.fresh()
    emitter.call(function, inputs, [pooled], **attributes)
    emitter.node("Flatten", [pooled], [emitter.define(y, ("uint8", "plain"))])


def _average_function(
    name: str, pool: Callable[[Body, str], str], opset: int
) -> onnx.FunctionProto:
    body = Body()
    x = body.op("Transpose", "x", perm=TO_NCHW)
    x = body.op("DequantizeLinear", x, "x_scale", "x_zero")
    y = pool(body, x)
    y = body.op("QuantizeLinear", y, "y_scale", "y_zero")
    body.op("Transpose", y, perm=TO_NHWC, output="y")
    inputs = ["x", "x_scale", "x_zero", "y_scale", "y_zero"]
    return make_function(name, inputs, ["y"], body.nodes, list(body.attributes), opset)
