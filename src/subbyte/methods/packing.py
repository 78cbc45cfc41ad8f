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
    names apart from those of other calls. A code that crosses a byte takes its high bits
    from the next byte; where a code ends within the last byte, what is read from there
    instead is masked away. Shifting left by 7 - s and by 1 more avoids a shift by 8,
    which is undefined on uint8.
    """
    names = {
        key: prefix + key for key in "bjpyrslnmhtuvwxkqzcfed"
    }
    node = helper.make_node
    v = names
    return [
        node("Shape", [packed], [v["b"]], start=1),
        constant(v["j"], np.arange(8), np.int64),
        node("Mul", [v["j"], v["b"]], [v["p"]]),
        constant(v["e"], [8], np.int64),
        node("Div", [v["p"], v["e"]], [v["y"]]),
        node("Mod", [v["p"], v["e"]], [v["r"]]),
        node("Cast", [v["r"]], [v["s"]], to=TensorProto.UINT8),
        node("Gather", [packed, v["y"]], [v["l"]], axis=1),
        node("BitShift", [v["l"], v["s"]], [v["n"]], direction="RIGHT"),
        constant(v["m"], [1], np.int64),
        node("Add", [v["y"], v["m"]], [v["h"]]),
        node("Sub", [v["b"], v["m"]], [v["t"]]),
        node("Min", [v["h"], v["t"]], [v["u"]]),
        node("Gather", [packed, v["u"]], [v["v"]], axis=1),
        constant(v["w"], [7], np.int64),
        node("Sub", [v["w"], v["r"]], [v["x"]]),
        node("Cast", [v["x"]], [v["k"]], to=TensorProto.UINT8),
        node("BitShift", [v["v"], v["k"]], [v["q"]], direction="LEFT"),
        constant(v["z"], [1], np.uint8),
        node("BitShift", [v["q"], v["z"]], [v["c"]], direction="LEFT"),
        node("BitwiseOr", [v["n"], v["c"]], [v["f"]]),
        *_mask_nodes(v["f"], v["b"], v["e"], shape, output, v["d"]),
    ]


def _mask_nodes(
    value: str, bits: str, eight: str, shape: str, output: str, prefix: str
) -> list[onnx.NodeProto]:
    """``output`` = the low ``bits`` of ``value``, cut to the first prod(shape), in ``shape``."""
    node = helper.make_node
    name = {key: prefix + key for key in "acgilop"}
    return [
        node("Sub", [eight, bits], [name["a"]]),
        node("Cast", [name["a"]], [name["c"]], to=TensorProto.UINT8),
        constant(name["g"], [255], np.uint8),
        node("BitShift", [name["g"], name["c"]], [name["i"]], direction="RIGHT"),
        node("BitwiseAnd", [value, name["i"]], [name["l"]]),
        constant(name["o"], [-1], np.int64),
        node("Reshape", [name["l"], name["o"]], [name["p"]]),
        node("ReduceProd", [shape], [name["p"] + "n"], keepdims=1),
        constant(name["p"] + "z", [0], np.int64),
        node("Slice", [name["p"], name["p"] + "z", name["p"] + "n"], [name["p"] + "s"]),
        node("Reshape", [name["p"] + "s", shape], [output]),
    ]
