"""Operators on entries: functions of one value, sums and products of two, clamps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, Kind, ValueLayout
from subbyte.graph.functions.body import Body, make_function
from subbyte.graph.islands.intervals import EVERYTHING, Interval
from subbyte.graph.islands.operators.registry import (
    IslandOperator,
    never,
    one_operand,
    operator,
    register,
)

# functions of one value -----------------------------------------------------------------


def unit(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    """The range of an output that is a share of one."""
    return Interval(0.0, 1.0)


register(
    *("Abs", "Ceil", "Celu", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu"),
    *("LeakyRelu", "Log", "Max", "Min", "Mish", "Neg", "Pow", "Reciprocal", "Round", "Selu"),
    *("Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu"),
    row=IslandOperator(elementwise=True),
)
register("Sigmoid", row=IslandOperator(elementwise=True, interval=unit))
register("Softmax", row=IslandOperator(interval=unit))


def _above_minus_three(node: ir.Node, outputs: Interval) -> Interval:
    """Of HardSwish: below -3 it is 0."""
    return Interval(-3.0, math.inf)


register("HardSwish", row=IslandOperator(elementwise=True, needed=_above_minus_three))


def _slope(node: ir.Node, outputs: Interval) -> Interval:
    """Of HardSigmoid: clamp(alpha x + beta, 0, 1) changes between two values of x alone."""
    alpha = query.attribute(node, "alpha", 0.2)
    beta = query.attribute(node, "beta", 0.5)
    return Interval(-beta / alpha, (1 - beta) / alpha) if alpha > 0 else EVERYTHING


register("HardSigmoid", row=IslandOperator(elementwise=True, interval=unit, needed=_slope))


def _prelu_last(emitter: Emitter, node: ir.Node, output: str) -> bool:
    """max(x, slope * x): onnxruntime's PRelu is slow where the channels come last."""
    slope = query.constant(node.inputs[1])
    if slope is None or not (slope <= 1).all():
        return False
    x = emitter.get(node.inputs[0], ("float", "last"))
    product = emitter.fresh()
    emitter.node("Mul", [x, emitter.operand(node.inputs[1], "last")], [product])
    emitter.node("Max", [x, product], [output])
    return True


register("PRelu", row=IslandOperator(elementwise=True, channels_last=_prelu_last))


def _map_normalization(node: ir.Node) -> bool:
    return one_operand(node) and query.rank(node.outputs[0]) == 4 and len(node.outputs) == 1


def _normalization_last(emitter: Emitter, node: ir.Node, output: str) -> bool:
    """y = a x + b with the channels last, so that no transpose is needed."""
    scale, bias, mean, variance = (query.known(value) for value in node.inputs[1:5])
    a = scale / np.sqrt(variance + query.attribute(node, "epsilon", 1e-5))
    product = emitter.fresh()
    x = emitter.get(node.inputs[0], ("float", "last"))
    emitter.node("Mul", [x, emitter.array(a.astype(np.float32))], [product])
    offset = emitter.array((bias - mean * a).astype(np.float32))
    emitter.node("Add", [product, offset], [output])
    return True


register(
    "BatchNormalization",
    row=IslandOperator(
        elementwise=True, pointwise=_map_normalization, channels_last=_normalization_last
    ),
)

# sums and products of two ---------------------------------------------------------------


def _two_moving(node: ir.Node) -> bool:
    a, b = node.inputs
    moving = not query.is_constant(a) and not query.is_constant(b)
    return moving and query.rank(a) == query.rank(b)


def _not_negative(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    """The range of a sum or product: no output is below zero where no input is."""
    return Interval(0.0, math.inf) if all(each.low >= 0 for each in inputs) else EVERYTHING


_PAIR = IslandOperator(supported=_two_moving, elementwise=True, interval=_not_negative)


@operator("Add", row=_PAIR)
def add(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.Add``: y = x + r."""
    _pair(emitter, node, sum_function)


@operator("Mul", row=_PAIR)
def multiply(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """``subbyte.Mul``: y = x * r."""
    _pair(emitter, node, product_function)


def _pair(emitter: Emitter, node: ir.Node, function: Callable[[int], onnx.FunctionProto]) -> None:
    form: ValueLayout = "uint8", emitter.layout(*query.data_inputs(node))
    inputs = [name for value in node.inputs for name in emitter.quantized(value, form)]
    inputs += emitter.quantization(node.outputs[0])
    emitter.call(function(emitter.opset), inputs, [emitter.define(node.outputs[0], form)])


def sum_function(opset: int) -> onnx.FunctionProto:
    """``Add``: y = x + r, all uint8 with their own parameters."""
    return _pair_function("Add", opset)


def product_function(opset: int) -> onnx.FunctionProto:
    """``Mul``: y = x * r, all uint8 with their own parameters."""
    return _pair_function("Mul", opset)


def _pair_function(op_type: str, opset: int) -> onnx.FunctionProto:
    body = Body()
    x = body.op("DequantizeLinear", "x", "x_scale", "x_zero")
    r = body.op("DequantizeLinear", "r", "r_scale", "r_zero")
    y = body.op(op_type, x, r)
    body.op("QuantizeLinear", y, "y_scale", "y_zero", output="y")
    inputs = ["x", "x_scale", "x_zero", "r", "r_scale", "r_zero", "y_scale", "y_zero"]
    return make_function(op_type, inputs, ["y"], body.nodes, [], opset)


# clamps ---------------------------------------------------------------------------------


def _constant_bounds(node: ir.Node) -> bool:
    return query.clip_bounds(node) is not None


def _clamped(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    bounds = query.clip_bounds(node)
    return EVERYTHING if bounds is None else inputs[0].clamp(*bounds)


def _clamped_needs(node: ir.Node, outputs: Interval) -> Interval:
    bounds = query.clip_bounds(node)
    return EVERYTHING if bounds is None else outputs.clamp(*bounds)


@operator(
    *("Relu", "Clip"),
    row=IslandOperator(
        supported=_constant_bounds,
        elementwise=True,
        pointwise=never,
        interval=_clamped,
        needed=_clamped_needs,
        shares="input",
    ),
)
def clamp(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
    """A clamp that its input's quantization has not done: the same clamp on the codes."""
    form: ValueLayout = "uint8", emitter.layout(*query.data_inputs(node))
    low, high = query.clip_bounds(node) or (-np.inf, np.inf)
    params = emitter.params_of(node.inputs[0])
    carried = np.clip(np.array([low, high], np.float32), params.low, params.high)
    bounds = [emitter.array(code) for code in params.quantize(carried)]
    inputs = [emitter.get(node.inputs[0], form), *bounds]
    emitter.node("Clip", inputs, [emitter.define(node.outputs[0], form)])
