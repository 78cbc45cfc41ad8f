"""Comparison, boolean and bit operators, and changes of element type."""

from __future__ import annotations

import onnx_ir as ir
import torch
from torch import Tensor

from subbyte.graph.ops.registry import Form, Kernel, operator, register_functions

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

register_functions(
    {
        "And": torch.logical_and,
        "BitwiseAnd": torch.bitwise_and,
        "BitwiseNot": torch.bitwise_not,
        "BitwiseOr": torch.bitwise_or,
        "BitwiseXor": torch.bitwise_xor,
        "Equal": torch.eq,
        "Greater": torch.gt,
        "GreaterOrEqual": torch.ge,
        "IsNaN": torch.isnan,
        "Less": torch.lt,
        "LessOrEqual": torch.le,
        "Not": torch.logical_not,
        "Or": torch.logical_or,
        "Where": lambda condition, x, y: torch.where(condition, x, y),
        "Xor": torch.logical_xor,
    }
)


@operator("IsInf")
def is_inf(form: Form) -> Kernel:
    """Whether an entry is infinite, of the signs asked for."""
    positive = form.attribute("detect_positive", 1)
    negative = form.attribute("detect_negative", 1)

    def run(x: Tensor) -> Tensor:
        found = torch.zeros_like(x, dtype=torch.bool)
        found = found | torch.isposinf(x) if positive else found
        return found | torch.isneginf(x) if negative else found

    return run


@operator("BitShift")
def bit_shift(form: Form) -> Kernel:
    """x shifted by y bits."""
    left = form.attribute("direction", "LEFT") == "LEFT"
    return torch.bitwise_left_shift if left else torch.bitwise_right_shift


@operator("Cast")
def cast(form: Form) -> Kernel:
    """x in element type ``to``; float to integer truncates."""
    form.attribute("saturate", 1)  # concerns 8-bit floats only
    form.attribute("round_mode", "up")  # the same
    code = form.attribute("to", int(ir.DataType.UNDEFINED))
    target = TORCH_DTYPES.get(ir.DataType(code))
    if target is None:
        form.unsupported(f"to={ir.DataType(code).name}")
    return lambda x: x.to(target)


@operator("CastLike")
def cast_like(form: Form) -> Kernel:
    """x in the element type of y."""
    form.attribute("saturate", 1)
    form.attribute("round_mode", "up")
    return lambda x, y: x.to(y.dtype)
