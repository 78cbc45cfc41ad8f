"""The options of binary weights and inputs, and the packed form of the weights.

    W[o, t, i] ~ scale[o] * (1 - 2 * sign[o, t, i])                      sign in 0, 1

The input that W is multiplied with is binarized to order K (`residual`); what shares its
scales and K are the weight's variant, as ``Column2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.errors import OptionError
from subbyte.methods import packing
from subbyte.methods.coded import CodedWeight, WeightShape, decode_scale, pack_scale, scale_nodes

MOST_ORDER = 8
DEFAULT_ORDER = 2

Scales = Literal["column", "pixel", "image"]
SCALES: tuple[Scales, ...] = ("column", "pixel", "image")
Procedure = Literal["corrected", "paper"]
PROCEDURES: tuple[Procedure, ...] = ("corrected", "paper")


def scales_named(name: object) -> Scales:
    """The one of `SCALES` that has this name.

    Raises:
        OptionError: there is none.
    """
    for scales in SCALES:
        if scales == name:
            return scales
    raise OptionError("binary: unknown scales", expected=" or ".join(SCALES), got=name)


@dataclass(frozen=True)
class Binarization:
    """An input as the sum of ``order`` scaled sign tensors; ``scales``: what shares a scale,
    a ``column`` (the receptive field of an output), a ``pixel`` or an ``image``."""

    order: int = DEFAULT_ORDER
    scales: Scales = "column"

    def __post_init__(self) -> None:
        if not isinstance(self.order, int) or not 1 <= self.order <= MOST_ORDER:
            raise OptionError(
                "binary: order out of range", expected=f"1 to {MOST_ORDER}", got=self.order
            )
        scales_named(self.scales)

    @property
    def variant(self) -> str:
        """Name of the weights' variant: ``Column2`` and so on."""
        return f"{self.scales.title()}{self.order}"


VARIANTS: Mapping[str, Binarization] = {
    found.variant: found
    for scales in SCALES
    for found in (Binarization(order, scales) for order in range(1, MOST_ORDER + 1))
}


@dataclass(frozen=True)
class BinaryOptions(Binarization):
    """Also ``procedure``: ``corrected``, signs and scales fitted to the moments; or ``paper``:
    the sign of the weight itself and the mean of its magnitude."""

    procedure: Procedure = "corrected"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.procedure not in PROCEDURES:
            raise OptionError(
                "binary: unknown procedure", expected=" or ".join(PROCEDURES), got=self.procedure
            )


def stored_bytes(shape: WeightShape, options: Binarization) -> int:
    """Bytes `pack` will use: signs and scales, whatever the inputs' order."""
    del options
    return -(-shape.count // 8) + 2 * shape.outputs + 4


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


def scale(coded: CodedWeight) -> NDArray[np.float32]:
    """Per-output scale float32 [O]: alpha."""
    return decode_scale(coded)


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from signs, scale and the attributes to weight_int8 and weight_scale."""
    if variant not in VARIANTS:
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
