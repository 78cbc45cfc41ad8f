"""The options of coarse steps and their packed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.methods import packing
from subbyte.methods.coded import CodedWeight, WeightShape, pack_scale, scale_nodes
from subbyte.methods.options import MethodOptions, Value, option


@dataclass(frozen=True)
class CoarseOptions(MethodOptions):
    """Levels on each side of zero."""

    method: ClassVar[str] = "coarse"

    levels: int = option("levels on each side of zero", 3, allowed=(1, 3, 7))


def bits_of(options: CoarseOptions) -> int:
    return (2 * options.levels).bit_length()


def stored_bytes(shape: WeightShape, options: CoarseOptions) -> int:
    return -(-shape.count // 8) * bits_of(options) + 2 * shape.outputs + 4


def pack(
    shape: WeightShape,
    options: CoarseOptions,
    codes: NDArray[np.integer],
    scale: NDArray[np.float32],
) -> CodedWeight:
    half, base = pack_scale(scale)
    return CodedWeight(
        method="coarse",
        variant="",
        shape=shape,
        inputs={"codes": packing.pack(codes, bits_of(options)), "scale": half},
        attributes={
            "weight_shape": [shape.outputs, shape.taps, shape.inputs],
            "levels": options.levels,
            "scale_base": base,
        },
    )


def blank(shape: WeightShape, options: CoarseOptions) -> CodedWeight:
    codes = np.zeros((shape.outputs, shape.taps, shape.inputs), np.uint8)
    return pack(shape, options, codes, np.ones(shape.outputs, np.float32))


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    shape = coded.shape
    codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), shape.count).astype(np.int32)
    levels = (codes - coded.attributes["levels"]).astype(np.int8)
    return levels.reshape(shape.outputs, shape.taps, shape.inputs)


def options_of(coded: CodedWeight) -> dict[str, Value]:
    levels = coded.attributes["levels"]
    assert isinstance(levels, int)
    return {"levels": levels}


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    assert variant == ""
    node = helper.make_node
    return [
        packing.attribute("ws", "weight_shape", "ints"),
        packing.attribute("lv", "levels", "int"),
        *packing.unpack_nodes("codes", "ws", "c", "a"),
        node("Cast", ["lv"], ["li"], to=TensorProto.INT32),
        node("Sub", ["c", "li"], ["cl"]),
        node("Cast", ["cl"], ["weight_int8"], to=TensorProto.INT8),
        *scale_nodes(),
    ]
