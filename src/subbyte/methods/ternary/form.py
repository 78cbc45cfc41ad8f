"""The options of a ternary factorization and its packed form.

For each convolution group, with k = ``rank`` terms:

    P[o, (t, i)] = sum over j of X[o, j] * d[j] * Y[j, (t, i)]      X, Y in {-1, 0, 1}
    W[o, t, i] ~ scale[o] * rint(P[o, (t, i)] * (63 / max(1, max over n of |P[o, n]|)))

d are integers 0 .. 255, so P is exact in any order of summation, in int32 as in float32
(k * 255 < 2**24); the quotient, the product and the rounding are one float32 operation
each. So every runtime finds the same int8 weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.errors import OptionError
from subbyte.methods import packing
from subbyte.methods.coded import CodedWeight, WeightShape, pack_scale, scale_nodes
from subbyte.methods.options import MethodOptions, Value, option
from subbyte.methods.ternary import trits

LIMIT = 63
MOST_D = 255
MOST_RATIO = 4


@dataclass(frozen=True)
class TernaryOptions(MethodOptions):
    """Terms of each convolution group: ``rank`` of them; or ``rank_ratio`` times the smaller side
    of the group's matrix, ``rank`` at most."""

    method: ClassVar[str] = "ternary"

    rank: int | None = option("k, terms; with rank_ratio or a budget the most", least=1)
    rank_ratio: float | None = option(
        "k over min(outputs, inputs of a group)", least=0, above=True, most=MOST_RATIO
    )

    def terms(self, shape: WeightShape) -> int:
        """k for a weight of this shape.

        Raises:
            OptionError: neither option is set.
        """
        if self.rank_ratio is not None:
            return rank_of(shape, self.rank_ratio, self.rank)
        if self.rank is None:
            raise OptionError("ternary: a layer needs its rank", expected="rank or rank_ratio")
        return self.rank

    def describe(self) -> str:
        """``ternary, rank 8``."""
        ratio = "" if self.rank_ratio is None else f", rank_ratio {self.rank_ratio:g}"
        return f"ternary{ratio}" + ("" if self.rank is None else f", rank {self.rank}")


def smaller_side(shape: WeightShape) -> int:
    """min(m, n) of one group's matrix: the rank that the paper takes."""
    return min(shape.outputs // shape.groups, shape.taps * shape.inputs)


def rank_of(shape: WeightShape, ratio: float, most: int | None = None) -> int:
    """The rank for a ``ratio`` to min(m, n), 1 at least and ``most`` at most."""
    rank = max(1, round(ratio * smaller_side(shape)))
    return rank if most is None else min(rank, most)


def check_rank(shape: WeightShape, options: TernaryOptions) -> None:
    """Raise `OptionError` for a layer too small for the rank."""
    most = MOST_RATIO * smaller_side(shape)
    if options.terms(shape) > most:
        raise OptionError(
            "ternary: the layer is too small for this rank",
            expected=f"at most {MOST_RATIO} * min(outputs, inputs of a group) = {most}",
            got=options.terms(shape),
        )


def stored_bytes(shape: WeightShape, options: TernaryOptions) -> int:
    """Bytes `pack` will use: X, Y, d, scales."""
    rank = options.terms(shape)
    left = trits.stored_bytes(shape.outputs * rank)
    right = trits.stored_bytes(shape.groups * rank * shape.taps * shape.inputs)
    return left + right + shape.groups * rank + 2 * shape.outputs + 4


def blank(shape: WeightShape, options: TernaryOptions) -> CodedWeight:
    """A coded weight of zeros."""
    rank = options.terms(shape)
    left = np.zeros((shape.outputs, rank), np.int8)
    right = np.zeros((shape.groups, rank, shape.taps * shape.inputs), np.int8)
    return pack(shape, left, right[:, :, 0], right, np.ones(shape.outputs, np.float32))


def pack(
    shape: WeightShape,
    left: NDArray[np.integer],
    d: NDArray[np.integer],
    right: NDArray[np.integer],
    scale: NDArray[np.float32],
) -> CodedWeight:
    """Pack X [O, k], d [groups, k] (0 .. 255), Y [groups, k, T * I] and scale [O] float32."""
    half, base = pack_scale(scale)
    rank, width = right.shape[1:]
    return CodedWeight(
        method="ternary",
        variant="",
        shape=shape,
        inputs={
            "left": trits.pack(left),
            "d": d.astype(np.uint8),
            "right": trits.pack(right),
            "scale": half,
        },
        attributes={
            "weight_shape": [shape.outputs, shape.taps, shape.inputs],
            "left_shape": [shape.groups, shape.outputs // shape.groups, rank],
            "right_shape": [shape.groups, rank, width],
            "scale_base": base,
        },
    )


def factors(
    coded: CodedWeight,
) -> tuple[NDArray[np.int8], NDArray[np.uint8], NDArray[np.int8]]:
    """X int8 [groups, O / groups, k], d uint8 [groups, k] and Y int8 [groups, k, T * I]."""
    shape = coded.shape
    d = coded.inputs["d"].astype(np.uint8)
    groups, rank = d.shape
    width = shape.taps * shape.inputs
    left = trits.unpack(coded.inputs["left"].astype(np.uint8), shape.outputs * rank)
    right = trits.unpack(coded.inputs["right"].astype(np.uint8), groups * rank * width)
    return left.reshape(groups, -1, rank), d, right.reshape(groups, rank, width)


def round_rows(product: NDArray[np.float32]) -> NDArray[np.float32]:
    """rint(P * (63 / max(1, max |P|))) by rows: P [..., n] whole float32 -> the same, +-63."""
    largest = np.maximum(np.abs(product).max(axis=-1, keepdims=True), np.float32(1))
    return np.rint(product * (np.float32(LIMIT) / largest))


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    """Effective integer weights int8 [O, T, I]."""
    left, d, right = (array.astype(np.float32) for array in factors(coded))
    product = np.asarray((left * d[:, None, :]) @ right, np.float32)
    rounded = round_rows(product)
    shape = coded.shape
    return rounded.astype(np.int8).reshape(shape.outputs, shape.taps, shape.inputs)


def options_of(coded: CodedWeight) -> dict[str, Value]:
    """The options that the packed form shows."""
    return {"rank": int(coded.inputs["d"].shape[1])}


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from left, d, right, scale and the attributes to weight_int8 and weight_scale."""
    if variant:
        raise ValueError(f"ternary has no variant {variant!r}")
    node = helper.make_node
    return [
        packing.attribute("ls", "left_shape", "ints"),
        packing.attribute("rs", "right_shape", "ints"),
        packing.attribute("ws", "weight_shape", "ints"),
        *trits.unpack_nodes("left", "ls", "x", "a"),
        *trits.unpack_nodes("right", "rs", "y", "b"),
        node("Cast", ["d"], ["df"], to=TensorProto.FLOAT),
        packing.constant("mid", [1], np.int64),
        node("Unsqueeze", ["df", "mid"], ["du"]),
        node("Mul", ["x", "du"], ["xd"]),
        node("MatMul", ["xd", "y"], ["p"]),
        node("Abs", ["p"], ["pa"]),
        packing.constant("last", [-1], np.int64),
        node("ReduceMax", ["pa", "last"], ["pm"], keepdims=1),
        packing.constant("least", 1, np.float32),
        node("Max", ["pm", "least"], ["pl"]),
        packing.constant("limit", LIMIT, np.float32),
        node("Div", ["limit", "pl"], ["pf"]),
        node("Mul", ["p", "pf"], ["ps"]),
        node("Round", ["ps"], ["pr"]),
        node("Reshape", ["pr", "ws"], ["pw"]),
        node("Cast", ["pw"], ["weight_int8"], to=TensorProto.INT8),
        *scale_nodes(),
    ]
