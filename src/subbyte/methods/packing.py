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
    padded = np.zeros(rows * 8, np.uint8)
    padded[: flat.size] = flat
    planes = (padded[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(-1), bitorder="little").reshape(rows, bits)


def unpack(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return the first ``count`` codes of ``packed`` [rows, bits] as uint8 [count]."""
    bits = packed.shape[1]
    planes = np.unpackbits(packed.reshape(-1), bitorder="little").reshape(-1, bits)
    codes = (planes << np.arange(bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    return codes[:count]


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
    """Standard nodes (opset 18): ``output`` = the codes of ``packed``, as uint8 in ``shape``.

    ``packed`` and ``shape`` (int64 vector) are value names; ``prefix`` keeps the inner
    names apart from those of other calls. With r the code's first bit in its byte l, and
    the next byte h, each column of eight codes is

        (l & low) / 2**r  +  (h & high) * 2**(8 - r)

    Bits are masked first so that the division is exact and no product exceeds 255:
    OpenVINO computes BitShift by rounding division and saturating multiplication.
    """
    node = helper.make_node
    v = {key: prefix + key for key in "yrtoulhab"}
    return [
        *_column_nodes(packed, prefix),
        node("Gather", [packed, v["y"]], [v["a"]], axis=1),
        node("BitwiseAnd", [v["a"], v["l"]], [v["a"] + "m"]),
        node("Div", [v["a"] + "m", v["u"]], [v["a"] + "d"]),
        node("Add", [v["y"], v["o"]], [v["a"] + "i"]),
        node("Sub", [v["b"], v["o"]], [v["b"] + "i"]),
        node("Min", [v["a"] + "i", v["b"] + "i"], [v["a"] + "n"]),
        node("Gather", [packed, v["a"] + "n"], [v["b"] + "g"], axis=1),
        node("BitwiseAnd", [v["b"] + "g", v["h"]], [v["b"] + "m"]),
        node("Mul", [v["b"] + "m", v["t"]], [v["b"] + "t"]),
        node("Add", [v["b"] + "t", v["b"] + "t"], [v["b"] + "u"]),
        node("Add", [v["a"] + "d", v["b"] + "u"], [v["a"] + "s"]),
        *_cut_nodes(v["a"] + "s", shape, output, prefix + "c"),
    ]


def _column_nodes(packed: str, prefix: str) -> list[onnx.NodeProto]:
    """Per column j of eight codes: byte ``y``; uint8 masks ``l`` and ``h``; 2**r as ``u``;
    2**(7 - r) as ``t``; and the code width ``b``, the number one ``o`` (int64)."""
    node = helper.make_node
    v = {key: prefix + key for key in "bjeyrowgxpqiklmhnstuz"}
    return [
        node("Shape", [packed], [v["b"]], start=1),
        constant(v["j"], np.arange(8), np.int64),
        constant(v["e"], 8, np.int64),
        constant(v["o"], 1, np.int64),
        constant(v["w"], 1 << np.arange(9), np.int64),
        node("Mul", [v["j"], v["b"]], [v["p"]]),
        node("Div", [v["p"], v["e"]], [v["y"]]),
        node("Mod", [v["p"], v["e"]], [v["r"]]),
        node("Gather", [v["w"], v["r"]], [v["g"]]),
        node("Cast", [v["g"]], [v["u"]], to=TensorProto.UINT8),
        constant(v["z"], 128, np.int64),
        node("Div", [v["z"], v["g"]], [v["q"]]),
        node("Cast", [v["q"]], [v["t"]], to=TensorProto.UINT8),
        node("Add", [v["r"], v["b"]], [v["x"]]),
        node("Min", [v["x"], v["e"]], [v["i"]]),
        node("Gather", [v["w"], v["i"]], [v["k"]]),
        node("Sub", [v["k"], v["g"]], [v["m"]]),
        node("Cast", [v["m"]], [v["l"]], to=TensorProto.UINT8),
        node("Sub", [v["x"], v["i"]], [v["n"]]),
        node("Gather", [v["w"], v["n"]], [v["s"]]),
        node("Sub", [v["s"], v["o"]], [v["s"] + "m"]),
        node("Cast", [v["s"] + "m"], [v["h"]], to=TensorProto.UINT8),
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
