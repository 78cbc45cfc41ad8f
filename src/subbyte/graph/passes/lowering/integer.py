"""Layers that compute on integers become the standard nodes that they stand for.

Quantizers write ``QLinearConv``, ``MatMulInteger`` and their kind. Their weights become floats and
are coded as any layer's weights; their inputs and outputs keep scale and zero point. Forms that are
not covered here (weights that are no constants, a scale for every row of the input) stay as they
are: ONNX Runtime runs them in the module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.passes.lowering.replacement import MICROSOFT, Lowered, NodeWriter

Array = NDArray[Any]


def _absent(writer: NodeWriter, place: int) -> bool:
    return writer.input(place) is None


def _parameter(
    writer: NodeWriter, place: int, axis: int, rank: int, default: float
) -> Array | None:
    """A scale or zero point of a weight as float32, shaped to go along ``axis`` of it."""
    if _absent(writer, place):
        return np.full([1] * rank, default, np.float32)
    array = query.constant(writer.input(place))
    if array is None or (array.size > 1 and array.ndim != 1):
        return None
    array = array.astype(np.float32)
    return array.reshape([-1 if i == axis and array.size > 1 else 1 for i in range(rank)])


def _weight(
    writer: NodeWriter, place: int, scale: int | None, zero: int, axis: int
) -> ir.Value | None:
    """The constant input ``place`` as floats, (q - zero) scale; scale 1 where there is none.

    ``axis``: the one that has scales and zero points of its own, counted from the first.
    """
    codes = query.constant(writer.input(place))
    if codes is None or codes.ndim < 2:
        return None
    axis = axis % codes.ndim
    factor = np.ones([1] * codes.ndim, np.float32)
    if scale is not None:
        given = _parameter(writer, scale, axis, codes.ndim, 1.0)
        if given is None:
            return None
        factor = given
    point = _parameter(writer, zero, axis, codes.ndim, 0.0)
    if point is None or any(p.shape[axis] not in (1, codes.shape[axis]) for p in (factor, point)):
        return None
    return writer.constant((codes.astype(np.float32) - point) * factor)


def _read(writer: NodeWriter, place: int, scale: int | None, zero: int) -> ir.Value | None:
    """Input ``place`` as floats, with one scale and one zero point for all of it."""
    parameters = [
        writer.constant(np.float32(1)) if scale is None else _single(writer.input(scale)),
        *([] if _absent(writer, zero) else [_single(writer.input(zero))]),
    ]
    if any(value is None for value in parameters):
        return None
    return writer.op("DequantizeLinear", writer.value(place), *parameters)


def _single(value: ir.Value | None) -> ir.Value | None:
    """A value of one entry; None for others, and for values of unknown size."""
    sizes = None if value is None or value.shape is None else list(value.shape)
    return value if sizes in ([], [1]) else None


def _bias(writer: NodeWriter, place: int, scales: tuple[int, int]) -> ir.Value | None:
    """int32 codes times the scales of the input and of the weight, as floats."""
    found = [query.constant(writer.input(i)) for i in (place, *scales)]
    arrays = [array.reshape(-1).astype(np.float32) for array in found if array is not None]
    if len(arrays) < 3:
        return None
    return writer.constant(arrays[0] * (arrays[1] * arrays[2]))


def _handed_on(writer: NodeWriter, y: ir.Value, scale: int) -> Lowered:
    """The output in the scale and zero point of the inputs from ``scale`` on."""
    zero = writer.input(scale + 1)
    parameters = [writer.value(scale), *([] if zero is None else [zero])]
    return {writer.node.outputs[0]: writer.op("QuantizeLinear", y, *parameters)}


def _as_integers(writer: NodeWriter, y: ir.Value) -> Lowered:
    """The output as int32; coded weights leave numbers that are not whole."""
    cast = writer.op("Cast", writer.op("Round", y), to=ir.DataType.INT32.value)
    return {writer.node.outputs[0]: cast}


def _qlinear_conv(writer: NodeWriter) -> Lowered:
    """x, its scale and zero, w, its scale and zero, y's scale and zero, and a bias."""
    x, w = _read(writer, 0, 1, 2), _weight(writer, 3, 4, 5, 0)
    bias = None if _absent(writer, 8) else _bias(writer, 8, (1, 4))
    if x is None or w is None or (bias is None and not _absent(writer, 8)):
        return None
    y = writer.op("Conv", x, w, *([] if bias is None else [bias]), **writer.node.attributes)
    return _handed_on(writer, y, 6)


def _qlinear_matmul(writer: NodeWriter) -> Lowered:
    """a, its scale and zero, b, its scale and zero, y's scale and zero."""
    a, b = _read(writer, 0, 1, 2), _weight(writer, 3, 4, 5, -1)
    if a is None or b is None:
        return None
    return _handed_on(writer, writer.op("MatMul", a, b), 6)


def _conv_integer(writer: NodeWriter) -> Lowered:
    """x, w, their zero points."""
    x, w = _read(writer, 0, None, 2), _weight(writer, 1, None, 3, 0)
    if x is None or w is None:
        return None
    return _as_integers(writer, writer.op("Conv", x, w, **writer.node.attributes))


def _matmul_integer(writer: NodeWriter) -> Lowered:
    """a, b, their zero points."""
    a, b = _read(writer, 0, None, 2), _weight(writer, 1, None, 3, -1)
    if a is None or b is None:
        return None
    return _as_integers(writer, writer.op("MatMul", a, b))


def _matmul_integer_to_float(writer: NodeWriter) -> Lowered:
    """a, b, their scales, their zero points, a bias in float."""
    a, b = _read(writer, 0, 2, 4), _weight(writer, 1, 3, 5, -1)
    if a is None or b is None:
        return None
    return _biased(writer, writer.op("MatMul", a, b), 6)


def _dynamic_matmul(writer: NodeWriter) -> Lowered:
    """a in float, coded by its own range; b, its scale and zero, a bias in float."""
    b = _weight(writer, 1, 2, 3, -1)
    if b is None:
        return None
    codes = writer.ops("DynamicQuantizeLinear", 3, writer.value(0))
    return _biased(writer, writer.op("MatMul", writer.op("DequantizeLinear", *codes), b), 4)


def _biased(writer: NodeWriter, y: ir.Value, place: int) -> Lowered:
    bias = writer.input(place)
    return {writer.node.outputs[0]: y if bias is None else writer.op("Add", y, bias)}


def _qgemm(writer: NodeWriter) -> Lowered:
    """a, its scale and zero, b, its scale and zero, a bias in int32; y in float, or with a scale
    and zero. The product and the bias are both times alpha."""
    attributes = writer.node.attributes
    a = _read(writer, 0, 1, 2)
    b = _weight(writer, 3, 4, 5, 0 if attributes.get_int("transB", 0) else 1)
    bias = None if _absent(writer, 6) else _bias(writer, 6, (1, 4))
    if a is None or b is None or (bias is None and not _absent(writer, 6)):
        return None
    turned = {name: attributes.get_int(name, 0) for name in ("transA", "transB")}
    y = writer.op("Gemm", a, b, *([] if bias is None else [bias]), **turned)
    if (alpha := writer.number("alpha", 1.0)) != 1.0:
        y = writer.op("Mul", y, alpha)
    return {writer.node.outputs[0]: y} if _absent(writer, 7) else _handed_on(writer, y, 7)


def _matmul_nbits(writer: NodeWriter) -> Lowered:
    """a, codes [N, blocks, bytes] of a few bits each, the first in the lowest bits, scales and zero
    points for every block of inputs, and a bias. Not with columns in another order (g_idx)."""
    attributes = writer.node.attributes
    columns, rows = attributes.get_int("N", 0), attributes.get_int("K", 0)
    bits, block = attributes.get_int("bits", 4), attributes.get_int("block_size", 0)
    found = [query.constant(writer.input(place)) for place in (1, 2, 3)]
    codes, scale, zero = found
    if codes is None or scale is None or bits not in (2, 4, 8) or not _absent(writer, 4):
        return None
    if zero is None and not _absent(writer, 3):
        return None
    blocks = -(-rows // block)
    point = np.float32(1 << (bits - 1)) if zero is None else zero
    if zero is not None and zero.dtype == np.uint8:
        point = _unpacked(zero.reshape(columns, -1), bits)[:, :blocks]
    values = _unpacked(codes.reshape(columns * blocks, -1), bits).reshape(columns, blocks, block)
    point = np.broadcast_to(point.reshape(-1, blocks) if point.ndim else point, (columns, blocks))
    weight = (values - point[..., None]) * scale.reshape(columns, blocks, 1).astype(np.float32)
    matrix = weight.reshape(columns, -1)[:, :rows].T.astype(np.float32)
    return _biased(writer, writer.op("MatMul", writer.value(0), writer.constant(matrix)), 5)


def _unpacked(codes: Array, bits: int) -> Array:
    """uint8 [R, B] -> float32 [R, B * 8 / bits], the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (codes[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(len(codes), -1).astype(np.float32)


def _qattention(writer: NodeWriter) -> Lowered:
    """The input, weight of queries, keys and values, a bias in float, scales of input and weight,
    a mask, zero points, keys and values of the past."""
    a, w = _read(writer, 0, 3, 6), _weight(writer, 1, 4, 7, -1)
    if a is None or w is None:
        return None
    inputs = [a, w, writer.input(2), writer.input(5), writer.input(8)]
    attributes, count = writer.node.attributes, len(writer.node.outputs)
    made = writer.ops("Attention", count, *inputs, domain=MICROSOFT, **attributes)
    return dict(zip(writer.node.outputs, made, strict=True))


def _dynamic_lstm(writer: NodeWriter) -> Lowered:
    """An LSTM with W [directions, inputs, 4 H] and R [directions, H, 4 H] in integers.

    Behind the eight inputs stand their scales and zero points, of a direction or of a column.
    """
    weights = [_turned_gates(writer, place, 6 + 2 * place) for place in (1, 2)]
    if weights[0] is None or weights[1] is None:
        return None
    inputs = [writer.value(0), *weights, *(writer.input(place) for place in range(3, 8))]
    attributes, count = writer.node.attributes, len(writer.node.outputs)
    made = writer.ops("LSTM", count, *inputs, domain="", **attributes)
    return dict(zip(writer.node.outputs, made, strict=True))


def _turned_gates(writer: NodeWriter, place: int, scale: int) -> ir.Value | None:
    found = [query.constant(writer.input(i)) for i in (place, scale, scale + 1)]
    codes, factor, zero = found
    if codes is None or factor is None or (zero is None and not _absent(writer, scale + 1)):
        return None
    point = np.zeros(1, np.float32) if zero is None else zero
    factor, point = (
        x.astype(np.float32).reshape(x.shape[0], 1, -1) for x in (factor, np.atleast_1d(point))
    )
    floats = ((codes.astype(np.float32) - point) * factor).transpose(0, 2, 1)
    return writer.constant(np.ascontiguousarray(floats))


def _embeddings(writer: NodeWriter) -> Lowered:
    """Ids, segments, tables of words, places and segments, gamma and beta of a normalization, all
    five in integers, a mask, then their scales and zero points."""
    floats = [_embedded(writer, place) for place in range(2, 7)]
    if any(x is None and not _absent(writer, 2 + i) for i, x in enumerate(floats)):
        return None
    inputs = [writer.value(0), writer.input(1), *floats, writer.input(7)]
    attributes, count = writer.node.attributes, len(writer.node.outputs)
    name = "EmbedLayerNormalization"
    made = writer.ops(name, count, *inputs, domain=MICROSOFT, **attributes)
    return dict(zip(writer.node.outputs, made, strict=True))


def _embedded(writer: NodeWriter, place: int) -> ir.Value | None:
    found = [query.constant(writer.input(i)) for i in (place, place + 6, place + 11)]
    codes, scale, zero = found
    if codes is None or scale is None or scale.size != 1 or zero is None or zero.size != 1:
        return None
    values = (codes.astype(np.float32) - np.float32(zero.item())) * np.float32(scale.item())
    return writer.constant(values)


def _gather_blocks(writer: NodeWriter) -> Lowered:
    """A table of 4 or 8 bits, indices, scales and zero points for every block along its last axis;
    bytes hold two codes of 4 bits, the first in the lower bits."""
    attributes = writer.node.attributes
    codes, scale = (query.constant(writer.input(place)) for place in (0, 2))
    zero, bits = query.constant(writer.input(3)), attributes.get_int("bits", 4)
    axes = [attributes.get_int("gather_axis", 0), attributes.get_int("quantize_axis", 1)]
    if codes is None or scale is None or codes.ndim != 2 or axes not in ([0, 1], [0, -1]):
        return None
    if zero is None and not _absent(writer, 3):
        return None
    point: Array = np.zeros((1, 1), np.float32)
    if codes.dtype == np.uint8:
        codes = _unpacked(codes, bits)
        point += 1 << (bits - 1)
        zero = None if zero is None else _unpacked(zero, bits)[:, : scale.shape[1]]
    point = point if zero is None else zero.astype(np.float32)
    block = attributes.get_int("block_size", 128)
    point, factor = (
        np.repeat(x.astype(np.float32), block, 1)[:, : codes.shape[1]] if x.size > 1 else x
        for x in (point, scale)
    )
    table = ((codes.astype(np.float32) - point) * factor).astype(np.float32)
    made = writer.op("Gather", writer.constant(table), writer.value(1), axis=0)
    return {writer.node.outputs[0]: made}


INTEGER: dict[tuple[str, str], Callable[[NodeWriter], Lowered]] = {
    ("", "QLinearConv"): _qlinear_conv,
    ("", "QLinearMatMul"): _qlinear_matmul,
    ("", "ConvInteger"): _conv_integer,
    ("", "MatMulInteger"): _matmul_integer,
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_matmul,
    (MICROSOFT, "MatMulNBits"): _matmul_nbits,
    (MICROSOFT, "QGemm"): _qgemm,
    (MICROSOFT, "QAttention"): _qattention,
    (MICROSOFT, "DynamicQuantizeLSTM"): _dynamic_lstm,
    (MICROSOFT, "QEmbedLayerNormalization"): _embeddings,
    (MICROSOFT, "GatherBlockQuantized"): _gather_blocks,
}
"""The function that writes the nodes for an operator, by its domain and name."""
