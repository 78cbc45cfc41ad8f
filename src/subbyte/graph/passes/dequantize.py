"""Stored integers as the floats that they stand for, of every integer type that ONNX has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query

Array = NDArray[Any]


def dequantized(node: ir.Node, codes: Array, parameters: Sequence[Array | None]) -> Array | None:
    """``codes`` through a DequantizeLinear node whose scale and zero point are ``parameters``:
    (codes - zero) scale, float32, one of each for all, along an axis, or for blocks along it.

    None where the shapes do not fit each other.
    """
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    result = codes.astype(np.float32)
    for place in (1, 0):
        given = parameters[place] if place < len(parameters) else None
        if given is None:
            continue
        factor = _spread(given.astype(np.float32), codes.shape, axis, block)
        if factor is None:
            return None
        result = result - factor if place else result * factor
    return result


def _spread(parameter: Array, shape: tuple[int, ...], axis: int, block: int) -> Array | None:
    """``parameter`` in a shape that broadcasts to ``shape``."""
    if parameter.size == 1:
        return parameter.reshape(())
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    if block:
        repeated = np.repeat(parameter, block, axis) if parameter.ndim == len(shape) else parameter
        return repeated if repeated.shape == shape else None
    if parameter.ndim != 1 or len(parameter) != shape[axis]:
        return None
    return parameter.reshape([-1 if place == axis else 1 for place in range(len(shape))])


def dequantized_constant(node: ir.Node) -> Array | None:
    """The result of a DequantizeLinear of constants, or of a Cast of narrow integers to float32.

    Narrow integers have fewer than 8 bits. None for any other node.
    """
    if node.domain != "" or node.op_type not in ("Cast", "DequantizeLinear"):
        return None
    arrays = [query.constant(value) for value in node.inputs]
    source = node.inputs[0]
    if arrays[0] is None or source is None or source.const_value is None:
        return None
    kind = source.const_value.dtype
    if node.op_type == "DequantizeLinear":
        whole = all(
            array is not None or value is None
            for array, value in zip(arrays, node.inputs, strict=True)
        )
        return dequantized(node, arrays[0], arrays[1:]) if whole and kind.is_integer() else None
    to_float = node.attributes.get_int("to", 0) == ir.DataType.FLOAT.value
    return arrays[0].astype(np.float32) if to_float and kind.bitwidth < 8 else None
