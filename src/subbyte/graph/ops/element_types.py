"""Element types: casts, and linear quantization per tensor or per axis, as in quantized models."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from subbyte.graph.ops.registry import PREPARED, Kernel, NodeView, operator

TORCH_DTYPES = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.BOOL: torch.bool,
}
"""ONNX element types with full support in torch, and their torch types."""

QUANTIZED = (torch.int8, torch.uint8, torch.int16, torch.int32)


@operator("Cast")
def cast(form: NodeView) -> Kernel:
    """x in element type ``to``; float to integer truncates."""
    form.attribute("saturate", 1)  # concerns 8-bit floats only
    form.attribute("round_mode", "up")  # the same
    code = form.attribute("to", int(ir.DataType.UNDEFINED))
    target = TORCH_DTYPES.get(ir.DataType(code))
    if target is None:
        form.unsupported(f"to={ir.DataType(code).name}")
    return lambda x: x.to(target)


@operator("CastLike")
def cast_like(form: NodeView) -> Kernel:
    """x in the element type of y."""
    form.attribute("saturate", 1)
    form.attribute("round_mode", "up")
    return lambda x, y: x.to(y.dtype)


def _along(parameter: Tensor, x: Tensor, axis: int) -> Tensor:
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def _read_axis(form: NodeView) -> int:
    if form.attribute("block_size", 0):
        form.unsupported("block_size")
    form.attribute("saturate", 1)
    return form.attribute("axis", 1)


@operator("QuantizeLinear")
def quantize_linear(form: NodeView) -> Kernel:
    """saturate(round(x / scale) + zero_point), ties to even."""
    axis, code = _read_axis(form), form.attribute("output_dtype", 0)
    form.attribute("precision", 0)
    kind = TORCH_DTYPES.get(ir.DataType(code)) if code else torch.uint8
    zero = form.constants.get(2)
    if zero is not None:
        kind = getattr(torch, str(zero.dtype), None)
    if kind not in QUANTIZED:
        form.unsupported("output type")
    limits = torch.iinfo(kind)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        y = torch.round(x / _along(scale, x, axis))
        if zero_point is not None:
            y = y + _along(zero_point, x, axis)
        return y.clamp(limits.min, limits.max).to(kind)

    return run


@operator("Quantize", domain=PREPARED)
def quantize_straight(form: NodeView) -> Kernel:
    """QuantizeLinear to uint8 in training: codes as floats, rounded; the gradient passes the
    rounding straight through, and is zero where a value saturates (which may be a ReLU)."""

    def run(x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        # In the scale's precision: half precision would not hold codes of mixed precision.
        y = x.to(scale.dtype) / scale + zero_point
        y = y.clamp(0, 255)
        return y + (y.round() - y).detach()

    return run


@operator("DequantizeLinear")
def dequantize_linear(form: NodeView) -> Kernel:
    """(x - zero_point) * scale."""
    axis = _read_axis(form)
    form.attribute("output_dtype", 0)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        y = x.to(scale.dtype)
        if zero_point is not None:
            y = y - _along(zero_point, x, axis).to(scale.dtype)
        return y * _along(scale, x, axis)

    return run
