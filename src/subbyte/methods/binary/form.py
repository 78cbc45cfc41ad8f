"""The options of binary weights and inputs, and the packed form of the weights.

    W[o, t, i] ~ scale[o] * (1 - 2 * sign[o, t, i])                      sign in 0, 1

The input that W is multiplied with is binarized to order K (`residual`). K, and the values that
share its scales, are the weight's variant, as ``Column2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.methods import packing
from subbyte.methods.binarization import (
    BINARIZATIONS,
    DEFAULT_ORDER,
    MOST_ORDER,
    SCALES,
    Binarization,
    Scales,
)
from subbyte.methods.coded import CodedWeight, WeightShape, pack_scale, scale_nodes
from subbyte.methods.options import Fit, MethodOptions, Value, option

Procedure = Literal["corrected", "paper"]
PROCEDURES: tuple[Procedure, ...] = ("corrected", "paper")


@dataclass(frozen=True)
class BinaryOptions(MethodOptions):
    """How the inputs are binarized, and how the signs and scales of the weight are found."""

    method: ClassVar[str] = "binary"

    order: int = option(
        "K, sign tensors an input becomes", DEFAULT_ORDER, allowed=range(1, MOST_ORDER + 1)
    )
    scales: Scales = option(
        "what shares their scales: column (the paper's), pixel or image", "column", allowed=SCALES
    )
    procedure: Procedure = option(
        "corrected: fitted to the samples; paper: sign and mean of the weight",
        "corrected",
        allowed=PROCEDURES,
    )

    def describe(self) -> str:
        """``binary, order 2, column``."""
        return f"binary, order {self.order}, {self.scales}"

    @property
    def binarization(self) -> Binarization:
        """The binarization of the layer's input."""
        return Binarization(self.order, self.scales)

    def fit(self, published: bool) -> Fit:
        """The paper takes the weights as they are."""
        del published
        return "weights" if self.procedure == "paper" else "corrected"


def stored_bytes(shape: WeightShape, options: BinaryOptions) -> int:
    """Bytes `pack` will use: signs and scales, for inputs of any order."""
    del options
    return -(-shape.count // 8) + 2 * shape.outputs + 4


def blank(shape: WeightShape, options: BinaryOptions) -> CodedWeight:
    """A coded weight of ones."""
    negative = np.zeros((shape.outputs, shape.taps, shape.inputs), np.bool_)
    scale = np.ones(shape.outputs, np.float32)
    return pack(shape, options.binarization, negative, scale)


def pack(
    shape: WeightShape,
    binarization: Binarization,
    negative: NDArray[np.bool_],
    scale: NDArray[np.float32],
) -> CodedWeight:
    """Pack the signs, ``negative`` [O, T, I], and ``scale`` [O] float32."""
    half, base = pack_scale(scale)
    return CodedWeight(
        method="binary",
        variant=binarization.variant,
        shape=shape,
        inputs={"signs": packing.pack(negative, 1), "scale": half},
        attributes={
            "weight_shape": [shape.outputs, shape.taps, shape.inputs],
            "scale_base": base,
        },
    )


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    """Effective integer weights int8 [O, T, I]: -1 or 1."""
    codes = packing.unpack(coded.inputs["signs"].astype(np.uint8), coded.shape.count)
    shape = coded.shape
    signs = 1 - 2 * codes.astype(np.int8)
    return signs.reshape(shape.outputs, shape.taps, shape.inputs)


def options_of(coded: CodedWeight) -> dict[str, Value]:
    """The options that the packed form shows."""
    found = BINARIZATIONS[coded.variant]
    return {"order": found.order, "scales": found.scales}


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from signs, scale and the attributes to weight_int8 and weight_scale."""
    if variant not in BINARIZATIONS:
        raise ValueError(f"binary has no variant {variant!r}")
    node = helper.make_node
    return [
        packing.attribute("ws", "weight_shape", "ints"),
        *packing.unpack_nodes("signs", "ws", "c", "a"),
        packing.constant("two", 2, np.int32),
        packing.constant("one", 1, np.int32),
        node("Mul", ["c", "two"], ["cm"]),
        node("Sub", ["one", "cm"], ["cl"]),
        node("Cast", ["cl"], ["weight_int8"], to=TensorProto.INT8),
        *scale_nodes(),
    ]
