"""Codes of 1 to 8 bits in bytes, and the standard ONNX nodes that unpack them.

Layout (ours): eight codes of ``b`` bits fill exactly ``b`` bytes, one row of the packed
array ``[ceil(n / 8), b]`` uint8. Within a row, code j takes the bits ``j * b`` to
``(j + 1) * b - 1``, counted from the lowest bit of the first byte. One layout for every
width keeps a single function body for all of them: the width is the packed array's
second dimension.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper


def pack(codes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Pack ``codes`` (any shape, values 0 .. 2**bits - 1) into uint8 ``[ceil(n / 8), bits]``.

    The tail of the last row is zero. Raises ValueError on a code that does not fit.
    """
    flat = np.asarray(codes).reshape(-1)
    if not 1 <= bits <= 8:
        raise ValueError(f"bits: expected 1 to 8, got {bits}")
    if flat.size and (flat.min() < 0 or flat.max() >= 1 << bits):
        raise ValueError(f"codes: expected 0 to {(1 << bits) - 1}, got up to {flat.max()}")
    rows = -(-flat.size // 8)
    columns = np.zeros((rows, 8), np.uint8)
    columns.reshape(-1)[: flat.size] = flat
    # A row as one little-endian number, code j at bit j * bits: up to 64 bits.
    words = np.zeros(rows, "<u8")
    for place in range(8):
        words |= columns[:, place].astype(np.uint64) << np.uint64(place * bits)
    return np.ascontiguousarray(words.view(np.uint8).reshape(rows, 8)[:, :bits])


def unpack(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return the first ``count`` codes of ``packed`` [rows, bits] as uint8 [count]."""
    rows, bits = packed.shape
    padded = np.zeros((rows, 8), np.uint8)
    padded[:, :bits] = packed
    words, mask = padded.reshape(-1).view("<u8"), np.uint64((1 << bits) - 1)
    columns = np.empty((rows, 8), np.uint8)
    for place in range(8):
        columns[:, place] = (words >> np.uint64(place * bits)) & mask
    return columns.reshape(-1)[:count]


def constant(name: str, value: ArrayLike, dtype: type[np.generic]) -> onnx.NodeProto:
    """A Constant node that defines ``name``."""
    tensor = onnx.numpy_helper.from_array(np.asarray(value, dtype))
    return helper.make_node("Constant", [], [name], value=tensor)


def attribute(name: str, attribute_name: str, kind: str) -> onnx.NodeProto:
    """A Constant node whose value is the enclosing function's attribute ``attribute_name``.

    ``kind``: ``int``, ``float`` or ``ints``.
    """
    types = {
        "int": (onnx.AttributeProto.INT, "value_int"),
        "float": (onnx.AttributeProto.FLOAT, "value_float"),
        "ints": (onnx.AttributeProto.INTS, "value_ints"),
    }
    node = helper.make_node("Constant", [], [name])
    node.attribute.append(
        onnx.AttributeProto(name=types[kind][1], ref_attr_name=attribute_name, type=types[kind][0])
    )
    return node


def unpack_nodes(packed: str, shape: str, output: str, prefix: str) -> list[onnx.NodeProto]:
    """Standard nodes (opset 18): ``output`` = the codes of ``packed``, as int32 in ``shape``.

    ``packed`` and ``shape`` (int64 vector) are value names; ``prefix`` keeps the inner names apart
    from other calls' names. With l the byte in which a code begins, at bit r, and h the next byte,
    the code is

        (l + 256 * h) / 2**r  mod  2**bits

    Arithmetic on int32 is the one form that every runtime tried has and computes alike: onnxruntime
    1.17 has no uint8 Div, and OpenVINO's BitShift saturates to the left. A row's last code ends in
    its last byte, so any h that is read there is cut off.
    """
    node = helper.make_node
    v = {key: prefix + key for key in "yuwoinlhmasdvb"}
    return [
        *_column_nodes(packed, prefix),
        node("Cast", [packed], [v["i"]], to=TensorProto.INT32),
        node("Gather", [v["i"], v["y"]], [v["l"]], axis=1),
        node("Gather", [v["i"], v["n"]], [v["h"]], axis=1),
        constant(v["m"], 256, np.int32),
        node("Mul", [v["h"], v["m"]], [v["a"]]),
        node("Add", [v["l"], v["a"]], [v["s"]]),
        node("Div", [v["s"], v["u"]], [v["d"]]),
        node("Mod", [v["d"], v["w"]], [v["v"]]),
        *_cut_nodes(v["v"], shape, output, prefix + "c"),
    ]


def unpack_rows_nodes(
    packed: str, rows: str, width: str, output: str, prefix: str
) -> list[onnx.NodeProto]:
    """Standard nodes (opset 18): ``output`` = rows of the codes of ``packed``, int32 [n, width].

    ``rows`` (int64 [n]) and ``width`` (int64 [1], codes a row) are value names. Code
    j = row * width + column is found as in `unpack_nodes`: its bits begin at bit 8 of
    (j mod 8) * bits in the j // 8-th row of bytes, in byte l; only these bytes are read. The
    next byte h is the last one of all behind the last code, where it is cut off.
    """
    node = helper.make_node
    v = {key: prefix + key for key in "abcdefghijklmnopqrstuvwxyzABCDEFG"}
    return [
        constant(v["z"], [-1], np.int64),
        constant(v["o"], 1, np.int64),
        constant(v["e"], 8, np.int64),
        constant(v["n"], 0, np.int64),
        constant(v["t"], 1 << np.arange(9), np.int32),
        node("Shape", [packed], [v["b"]], start=1),
        node("Size", [packed], [v["s"]]),
        node("Sub", [v["s"], v["o"]], [v["y"]]),
        node("Reshape", [packed, v["z"]], [v["f"]]),
        node("Squeeze", [width], [v["w"]]),
        node("Range", [v["n"], v["w"], v["o"]], [v["c"]]),
        node("Mul", [rows, width], [v["m"]]),
        node("Unsqueeze", [v["m"], v["z"]], [v["u"]]),
        node("Add", [v["u"], v["c"]], [v["j"]]),
        node("Mul", [v["j"], v["b"]], [v["i"]]),
        node("Div", [v["i"], v["e"]], [v["l"]]),
        node("Mod", [v["i"], v["e"]], [v["r"]]),
        node("Add", [v["l"], v["o"]], [v["h"]]),
        node("Min", [v["h"], v["y"]], [v["g"]]),
        node("Gather", [v["f"], v["l"]], [v["A"]]),
        node("Gather", [v["f"], v["g"]], [v["B"]]),
        node("Cast", [v["A"]], [v["C"]], to=TensorProto.INT32),
        node("Cast", [v["B"]], [v["D"]], to=TensorProto.INT32),
        constant(v["k"], 256, np.int32),
        node("Mul", [v["D"], v["k"]], [v["E"]]),
        node("Add", [v["C"], v["E"]], [v["F"]]),
        node("Gather", [v["t"], v["r"]], [v["d"]]),
        node("Div", [v["F"], v["d"]], [v["G"]]),
        node("Gather", [v["t"], v["b"]], [v["p"]]),
        node("Mod", [v["G"], v["p"]], [output]),
    ]


def _column_nodes(packed: str, prefix: str) -> list[onnx.NodeProto]:
    """Per column of eight codes: its first byte ``y`` and the next one ``n``, 2**r as ``u``
    (int32); and 2**bits as ``w``."""
    node = helper.make_node
    v = {key: prefix + key for key in "bjeyrotpuwgkn"}
    return [
        node("Shape", [packed], [v["b"]], start=1),
        constant(v["j"], np.arange(8), np.int64),
        constant(v["e"], 8, np.int64),
        constant(v["o"], 1, np.int64),
        constant(v["t"], 1 << np.arange(9), np.int32),
        node("Mul", [v["j"], v["b"]], [v["p"]]),
        node("Div", [v["p"], v["e"]], [v["y"]]),
        node("Mod", [v["p"], v["e"]], [v["r"]]),
        node("Gather", [v["t"], v["r"]], [v["u"]]),
        node("Gather", [v["t"], v["b"]], [v["w"]]),
        node("Add", [v["y"], v["o"]], [v["g"]]),
        node("Sub", [v["b"], v["o"]], [v["k"]]),
        node("Min", [v["g"], v["k"]], [v["n"]]),
    ]


def _cut_nodes(value: str, shape: str, output: str, prefix: str) -> list[onnx.NodeProto]:
    """``output`` = the first prod(shape) of ``value``, in ``shape``."""
    node = helper.make_node
    return [
        constant(prefix + "o", [-1], np.int64),
        node("Reshape", [value, prefix + "o"], [prefix + "f"]),
        node("ReduceProd", [shape], [prefix + "n"], keepdims=1),
        constant(prefix + "z", [0], np.int64),
        node("Slice", [prefix + "f", prefix + "z", prefix + "n"], [prefix + "s"]),
        node("Reshape", [prefix + "s", shape], [output]),
    ]
