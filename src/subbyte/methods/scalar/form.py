"""The options of a scalar grid and its packed form.

    W[o, t, i] ~ scale[o] * (step * code[o, t, i] + offset),   code in 0 .. 2**bits - 1

Two grids for 2 to 4 bits: ``even`` (step 2, offset 1 - 2**bits: symmetric, without zero)
and ``zero`` (step 1, offset -2**(bits - 1): with zero, one level more below). 8 bits use
the levels -127 .. 127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.errors import OptionError
from subbyte.methods import packing
from subbyte.methods.base import Kernel
from subbyte.methods.coded import (
    CodedWeight,
    LookupTables,
    WeightShape,
    pack_scale,
    row_scale_nodes,
    scale_nodes,
)
from subbyte.methods.options import Fit, MethodOptions, Value, option

BITS = (2, 3, 4, 8)
TOP_BITS = 8
PAIR_BITS = 2
Grid = Literal["even", "zero"]


@dataclass(frozen=True)
class ScalarOptions(MethodOptions):
    """Bits of a grid, and whether the weight lies on it already."""

    method: ClassVar[str] = "scalar"

    bits: int = option("bits a weight", 8, allowed=BITS)
    exact: bool = option(
        "keep weights that lie on a grid of 2, 3 or 4 bits, as training leaves them",
        False,
        rare=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact and self.bits == TOP_BITS:
            raise OptionError("scalar: exact is for 2, 3 or 4 bits", got=self.bits)

    def describe(self) -> str:
        """``scalar 4``; ``scalar 2, exact``."""
        return f"scalar {self.bits}{', exact' if self.exact else ''}"

    def fit(self, published: bool) -> Fit:
        """Weights on a grid stay there; in a published plan 8 bits are a rounding and no more."""
        return "weights" if published or self.exact else "corrected"


EIGHT_BITS = ScalarOptions(TOP_BITS)


def grid_map(bits: int, grid: Grid) -> tuple[int, int]:
    """(step, offset) from code to level."""
    if grid == "even" and bits < 8:
        return 2, 1 - (1 << bits)
    return 1, -(1 << (bits - 1))


def stored_bytes(shape: WeightShape, options: ScalarOptions) -> int:
    """Bytes `pack` will use: codes and scales."""
    return -(-shape.count // 8) * options.bits + 2 * shape.outputs + 4


def blank(shape: WeightShape, options: ScalarOptions) -> CodedWeight:
    """A coded weight of zeros."""
    levels = np.zeros((shape.outputs, shape.taps, shape.inputs), np.int32)
    return pack(shape, options.bits, "zero", levels, np.ones(shape.outputs, np.float32))


def pack(
    shape: WeightShape,
    bits: int,
    grid: Grid,
    levels: NDArray[np.integer],
    scale: NDArray[np.float32],
) -> CodedWeight:
    """Pack integer ``levels`` [O, T, I] of the grid and ``scale`` [O] float32."""
    step, offset = grid_map(bits, grid)
    half, base = pack_scale(scale)
    return CodedWeight(
        method="scalar",
        variant="",
        shape=shape,
        inputs={"codes": packing.pack((levels - offset) // step, bits), "scale": half},
        attributes={
            "weight_shape": [shape.outputs, shape.taps, shape.inputs],
            "step": step,
            "offset": offset,
            "scale_base": base,
        },
    )


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    """Effective integer weights int8 [O, T, I]."""
    codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), coded.shape.count)
    levels = codes.astype(np.int32) * coded.attributes["step"] + coded.attributes["offset"]
    shape = coded.shape
    return levels.astype(np.int8).reshape(shape.outputs, shape.taps, shape.inputs)


def tables(coded: CodedWeight) -> LookupTables | None:
    """2 bits: the 16 pairs of levels as words, word = code[i] + 4 * code[i + 1]. Else None."""
    shape = coded.shape
    if coded.inputs["codes"].shape[1] != 2:
        return None
    levels = np.arange(4) * coded.attributes["step"] + coded.attributes["offset"]
    words = np.stack([np.tile(levels, 4), np.repeat(levels, 4)], axis=1).astype(np.int8)
    codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), shape.count)
    codes = codes.reshape(shape.outputs, shape.taps, shape.inputs)
    codes = np.pad(codes, [(0, 0), (0, 0), (0, shape.inputs % 2)])
    return LookupTables(words[None], (codes[..., ::2] + 4 * codes[..., 1::2]).astype(np.uint8))


def options_of(coded: CodedWeight) -> dict[str, Value]:
    """The options that the packed form shows."""
    return {"bits": int(coded.inputs["codes"].shape[1])}


def kernel(options: ScalarOptions) -> Kernel:
    """Pairs of 2 bits are looked up; fewer than 8 are read as they are in long linear layers."""
    streamed = options.bits if options.bits < TOP_BITS else 0
    return Kernel(lookup=2 if options.bits == PAIR_BITS else 0, streamed=streamed)


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from codes, scale and the attributes to weight_int8 and weight_scale."""
    if variant:
        raise ValueError(f"scalar has no variant {variant!r}")
    return [
        packing.attribute("ws", "weight_shape", "ints"),
        *packing.unpack_nodes("codes", "ws", "c", "a"),
        *_level_nodes("weight_int8"),
        *scale_nodes(),
    ]


def row_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from codes, scale, the attributes and ``rows`` int64 [n] to row_int8 [n, I] and
    row_scale [n] of a weight of one tap."""
    if variant:
        raise ValueError(f"scalar has no variant {variant!r}")
    return [
        packing.attribute("ws", "weight_shape", "ints"),
        packing.constant("two", [2], np.int64),
        helper.make_node("Gather", ["ws", "two"], ["wi"]),
        *packing.unpack_rows_nodes("codes", "rows", "wi", "c", "a"),
        *_level_nodes("row_int8"),
        *row_scale_nodes(),
    ]


def _level_nodes(output: str) -> list[onnx.NodeProto]:
    """``output`` int8 = step * code + offset, of the codes ``c``."""
    node = helper.make_node
    return [
        packing.attribute("sp", "step", "int"),
        packing.attribute("so", "offset", "int"),
        node("Cast", ["sp"], ["si"], to=TensorProto.INT32),
        node("Cast", ["so"], ["oi"], to=TensorProto.INT32),
        node("Mul", ["c", "si"], ["cm"]),
        node("Add", ["cm", "oi"], ["cl"]),
        node("Cast", ["cl"], [output], to=TensorProto.INT8),
    ]
