"""Functions of domain ``subbyte`` that compute on uint8 NHWC, but have no weight.

Bodies are dequantize, compute, quantize, so that onnxruntime fuses them to its integer
operators; where a body works in NCHW, the transposes of neighbouring bodies cancel.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from subbyte.graph.functions.body import TO_NCHW, TO_NHWC, Body, make_function


def sum_function(opset: int) -> onnx.FunctionProto:
    """``Add``: y = x + r, all uint8 with their own parameters."""
    return _binary("Add", opset)


def product_function(opset: int) -> onnx.FunctionProto:
    """``Mul``: y = x * r, all uint8 with their own parameters."""
    return _binary("Mul", opset)


def _binary(op_type: str, opset: int) -> onnx.FunctionProto:
    body = Body()
    x = body.op("DequantizeLinear", "x", "x_scale", "x_zero")
    r = body.op("DequantizeLinear", "r", "r_scale", "r_zero")
    y = body.op(op_type, x, r)
    body.op("QuantizeLinear", y, "y_scale", "y_zero", output="y")
    inputs = ["x", "x_scale", "x_zero", "r", "r_scale", "r_zero", "y_scale", "y_zero"]
    return make_function(op_type, inputs, ["y"], body.nodes, [], opset)


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


def max_pool_function(opset: int) -> onnx.FunctionProto:
    """``MaxPool``: the standard operator on uint8 NHWC; parameters do not change."""
    body = Body()
    x = body.op("Transpose", "x", perm=TO_NCHW)
    y = body.op("MaxPool", x)
    body.refer(kernel_shape="ints", strides="ints", pads="ints", dilations="ints", ceil_mode="int")
    body.op("Transpose", y, perm=TO_NHWC, output="y")
    return make_function("MaxPool", ["x"], ["y"], body.nodes, list(body.attributes), opset)


def average_pool_function(opset: int) -> onnx.FunctionProto:
    """``AveragePool``: the standard operator on uint8 NHWC."""

    def pool(body: Body, x: str) -> str:
        y = body.op("AveragePool", x)
        body.refer(kernel_shape="ints", strides="ints", pads="ints")
        body.refer(ceil_mode="int", count_include_pad="int")
        return y

    return _pool("AveragePool", pool, opset)


def global_average_pool_function(opset: int) -> onnx.FunctionProto:
    """``GlobalAveragePool``: [N, H, W, C] -> [N, 1, 1, C]."""
    return _pool("GlobalAveragePool", lambda body, x: body.op("GlobalAveragePool", x), opset)


def _pool(name: str, pool: Callable[[Body, str], str], opset: int) -> onnx.FunctionProto:
    body = Body()
    x = body.op("Transpose", "x", perm=TO_NCHW)
    x = body.op("DequantizeLinear", x, "x_scale", "x_zero")
    y = pool(body, x)
    y = body.op("QuantizeLinear", y, "y_scale", "y_zero")
    body.op("Transpose", y, perm=TO_NHWC, output="y")
    inputs = ["x", "x_scale", "x_zero", "y_scale", "y_zero"]
    return make_function(name, inputs, ["y"], body.nodes, list(body.attributes), opset)
