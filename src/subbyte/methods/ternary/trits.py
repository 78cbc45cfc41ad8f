"""Ternary digits in bytes, five a byte: 1.6 bits each, where two bits a digit would be 2.

Byte b holds the digits b // 3**j % 3 - 1 for j = 0 .. 4 (3**5 = 243 values). Digits behind
the last are zeros. The standard nodes compute on int32, as `methods.packing` does.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper

from subbyte.methods import packing

PER_BYTE = 5
_POWERS = 3 ** np.arange(PER_BYTE)


def stored_bytes(count: int) -> int:
    """Bytes that ``count`` digits take."""
    return -(-count // PER_BYTE)


def pack(digits: ArrayLike) -> NDArray[np.uint8]:
    """Pack digits -1, 0, 1 of any shape into uint8 ``[ceil(n / 5)]``.

    Raises ValueError on any other digit.
    """
    flat = np.asarray(digits).reshape(-1)
    if flat.size and not np.isin(flat, (-1, 0, 1)).all():
        raise ValueError("digits: expected -1, 0 or 1")
    padded = np.zeros(stored_bytes(flat.size) * PER_BYTE, np.int64)
    padded[: flat.size] = flat
    return ((padded.reshape(-1, PER_BYTE) + 1) @ _POWERS).astype(np.uint8)


def unpack(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """The first ``count`` digits of ``packed`` as int8 [count]."""
    digits = packed.astype(np.int64)[:, None] // _POWERS % 3 - 1
    return digits.reshape(-1)[:count].astype(np.int8)


def unpack_nodes(packed: str, shape: str, output: str, prefix: str) -> list[onnx.NodeProto]:
    """Standard nodes (opset 18): ``output`` = the digits of ``packed``, float32 in ``shape``.

    ``packed`` and ``shape`` (int64 vector) are value names; ``prefix`` keeps the inner names apart
    from other calls' names.
    """
    node = helper.make_node
    v = {key: prefix + key for key in "aipdtmofnzlsr"}
    return [
        packing.constant(v["a"], [1], np.int64),
        node("Unsqueeze", [packed, v["a"]], [v["d"]]),
        node("Cast", [v["d"]], [v["i"]], to=TensorProto.INT32),
        packing.constant(v["p"], _POWERS, np.int32),
        node("Div", [v["i"], v["p"]], [v["t"]]),
        packing.constant(v["m"], 3, np.int32),
        node("Mod", [v["t"], v["m"]], [v["r"]]),
        packing.constant(v["o"], [-1], np.int64),
        node("Reshape", [v["r"], v["o"]], [v["f"]]),
        node("ReduceProd", [shape], [v["n"]], keepdims=1),
        packing.constant(v["z"], [0], np.int64),
        node("Slice", [v["f"], v["z"], v["n"]], [v["l"]]),
        node("Reshape", [v["l"], shape], [v["s"]]),
        node("Cast", [v["s"]], [prefix + "float"], to=TensorProto.FLOAT),
        packing.constant(prefix + "one", 1, np.float32),
        node("Sub", [prefix + "float", prefix + "one"], [output]),
    ]
