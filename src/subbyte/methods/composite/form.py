"""The options of composite binary planes and their packed form.

    W[o, t, i] ~ scale[o] * sign[o, t, i] * sum over b of plane_b[o, t, i] * 2**b     b = 0 .. 5

Each plane is stored as gap codes (`gaps`) or as factors over GF(2) (`galois`), whichever takes
fewer bytes; an unused one takes a byte. Signs are stored for the non-zero weights, in their order.
Variant ``Factored``: some plane is stored as factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from subbyte.methods import packing
from subbyte.methods.coded import CodedWeight, WeightShape, pack_scale, scale_nodes
from subbyte.methods.composite import galois, gaps
from subbyte.methods.composite.galois import Plane
from subbyte.methods.options import Fit, MethodOptions, Value, option

MOST_PLANES = 6
MOST_BITS = 8.0
BOTTLENECK = 0.2
FACTORED = "Factored"

Procedure = Literal["corrected", "paper"]
PROCEDURES: tuple[Procedure, ...] = ("corrected", "paper")
Factors = dict[int, tuple[Plane, Plane]]


@dataclass(frozen=True)
class CompositeOptions(MethodOptions):
    """Planes and bits of a composite weight. ``corrected`` fits to the moments within ``bits`` a
    weight, all that is stored counted. ``paper`` rounds the weight itself to its composite
    planes, the upper ones of a rank of at most ``bottleneck`` * min(h, w)."""

    method: ClassVar[str] = "composite"

    planes: int = option(
        "J, the most bits of magnitude",
        MOST_PLANES,
        allowed=range(1, MOST_PLANES + 1),
        why={0: "a grid without planes has one level"},
    )
    procedure: Procedure = option(
        "corrected: fitted to the samples; paper: the weight itself rounded",
        "corrected",
        allowed=PROCEDURES,
    )
    bits: float = option(
        "corrected: the most bits a weight, all counted",
        MOST_BITS,
        least=0,
        above=True,
        most=MOST_BITS,
    )
    bottleneck: float = option(
        "paper: rank over min(h, w) that sets the threshold",
        BOTTLENECK,
        least=0,
        above=True,
        most=1,
        why={0: "it allows no rank"},
    )

    def describe(self) -> str:
        """``composite, 4 planes``."""
        return f"composite, {self.planes} planes"

    @property
    def published(self) -> bool:
        """The paper's rounding."""
        return self.procedure == "paper"

    def fit(self, published: bool) -> Fit:
        """The paper rounds the weights."""
        del published
        return "weights" if self.published else "corrected"


def fixed_bytes(shape: WeightShape) -> int:
    """Bytes that `pack` uses for a weight of zeros."""
    return MOST_PLANES + 1 + 2 * shape.outputs + 4


def most_bytes(shape: WeightShape, options: CompositeOptions) -> int:
    """Bytes that `pack` will not exceed; the true number depends on the weight."""
    raw = -(-shape.count // 8) * (options.planes + 1) + MOST_PLANES - options.planes
    raw += 2 * shape.outputs + 4
    if options.procedure == "paper":
        return raw
    return min(raw, math.floor(options.bits * shape.count / 8))


def matrix_rows(shape: WeightShape) -> int:
    """h of the paper's matrix [O * kh, kw * I], which row-major [O, kh * kw, I] is already.

    A method sees kh * kw only: kh is taken as its largest divisor up to the square root,
    which is right for square kernels.
    """
    height = max(k for k in range(1, math.isqrt(shape.taps) + 1) if shape.taps % k == 0)
    return shape.outputs * height


def planes_of(levels: NDArray[np.integer], rows: int) -> list[Plane]:
    """The `MOST_PLANES` bits of |levels|, lowest first, each as [rows, -1]."""
    magnitudes = np.abs(levels).reshape(rows, -1)
    return [(magnitudes >> b) & 1 == 1 for b in range(MOST_PLANES)]


def worthwhile_rank(plane: Plane, plane_bytes: int) -> int:
    """The greatest rank at which factors of ``plane`` [h, w] take no more than ``plane_bytes``.

    Three bytes are left for the byte of the plane unused and the ends of A and B.
    """
    return max(0, 8 * (plane_bytes - 3) // sum(plane.shape))


def factor_bytes(ranks: int, height: int, width: int) -> int:
    """Bytes of A [h, R] and B [R, w] for the ranks of all factored planes together."""
    return -(-height * ranks // 8) + -(-ranks * width // 8)


def choose_factors(planes: list[Plane]) -> Factors:
    """The factors of the planes that take fewer bytes so than as gap codes."""
    found: Factors = {}
    for b, plane in enumerate(planes):
        most = worthwhile_rank(plane, gaps.stored_bytes(plane))
        if plane.any() and most > 0 and galois.rank(plane, most) <= most:
            found[b] = galois.factorize(plane)
    return found


def stored_bytes(levels: NDArray[np.integer], shape: WeightShape, factors: Factors) -> int:
    """Bytes that `pack` will use for integer ``levels`` [O, T, I]."""
    planes = planes_of(levels, matrix_rows(shape))
    signs = -(-max(1, int(np.count_nonzero(levels))) // 8)
    ranks = sum(left.shape[1] for left, _ in factors.values())
    stored = sum(1 if b in factors else gaps.stored_bytes(p) for b, p in enumerate(planes))
    return stored + signs + factor_bytes(ranks, *planes[0].shape) + 2 * shape.outputs + 4


def pack(
    shape: WeightShape,
    levels: NDArray[np.integer],
    scale: NDArray[np.float32],
    factors: Factors,
) -> CodedWeight:
    """Pack ``levels`` [O, T, I] within +-63 and ``scale`` [O] float32.

    ``factors``: A and B of the planes to be stored so, by bit.
    """
    planes = planes_of(levels, matrix_rows(shape))
    inputs: dict[str, NDArray[np.generic]] = {}
    counts = []
    for b, plane in enumerate(planes):
        kept = np.zeros_like(plane) if b in factors else plane
        inputs[f"plane{b}"], count = gaps.pack(kept)
        counts.append(count)
    negative = levels[levels != 0] < 0
    signs = negative if negative.size else np.zeros(1, bool)
    inputs["signs"] = packing.pack(signs, 1)
    attributes: dict[str, int | float | list[int]] = {
        "weight_shape": [shape.outputs, shape.taps, shape.inputs],
        "counts": [*counts, signs.size],
    }
    if factors:
        ranks = [factors[b][0].shape[1] if b in factors else 0 for b in range(MOST_PLANES)]
        bounds = np.cumsum([0, *ranks])
        inputs["left"] = packing.pack(np.hstack([factors[b][0] for b in sorted(factors)]), 1)
        inputs["right"] = packing.pack(np.vstack([factors[b][1] for b in sorted(factors)]), 1)
        attributes["bounds"] = bounds.tolist()
        attributes["left_shape"] = [planes[0].shape[0], int(bounds[-1])]
        attributes["right_shape"] = [int(bounds[-1]), planes[0].shape[1]]
    half, base = pack_scale(scale)
    inputs["scale"] = half
    attributes["scale_base"] = base
    return CodedWeight("composite", FACTORED if factors else "", shape, inputs, attributes)


def blank(shape: WeightShape, options: CompositeOptions) -> CodedWeight:
    """A coded weight of the right form, not of the right size: all its planes are full, as empty
    ones would be written in another way."""
    levels = np.full((shape.outputs, shape.taps, shape.inputs), (1 << options.planes) - 1, np.int32)
    return pack(shape, levels, np.ones(shape.outputs, np.float32), {})


def factors_of(coded: CodedWeight) -> Factors:
    """A [h, r] and B [r, w] of the planes stored as factors, by bit."""
    if coded.variant != FACTORED:
        return {}
    sides = []
    for name in ("left", "right"):
        size = np.asarray(coded.attributes[f"{name}_shape"])
        packed = coded.inputs[name].astype(np.uint8)
        sides.append(packing.unpack(packed, int(size.prod())).reshape(size) == 1)
    bounds = np.asarray(coded.attributes["bounds"])
    return {
        b: (sides[0][:, bounds[b] : bounds[b + 1]], sides[1][bounds[b] : bounds[b + 1]])
        for b in range(MOST_PLANES)
        if bounds[b] < bounds[b + 1]
    }


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    """Effective integer weights int8 [O, T, I]."""
    shape, factors = coded.shape, factors_of(coded)
    counts = np.asarray(coded.attributes["counts"])
    levels = np.zeros(shape.count, np.int64)
    for b in range(MOST_PLANES):
        packed = coded.inputs[f"plane{b}"].astype(np.uint8)
        if b in factors:
            plane = galois.multiply(*factors[b]).reshape(-1)
        else:
            plane = gaps.unpack(packed, int(counts[b]), shape.count)
        levels += plane.astype(np.int64) << b
    places = np.flatnonzero(levels)
    signs = packing.unpack(coded.inputs["signs"].astype(np.uint8), len(places))
    levels[places] *= 1 - 2 * signs.astype(np.int64)
    return levels.astype(np.int8).reshape(shape.outputs, shape.taps, shape.inputs)


def options_of(coded: CodedWeight) -> dict[str, Value]:
    """The options that the packed form shows: the planes in use."""
    levels = np.abs(decode(coded).astype(np.int32))
    return {"planes": int(levels.max(initial=0)).bit_length()}


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from the planes, signs, scale and attributes to weight_int8 and weight_scale."""
    if variant not in ("", FACTORED):
        raise ValueError(f"composite has no variant {variant!r}")
    node = helper.make_node
    nodes = [
        packing.attribute("ws", "weight_shape", "ints"),
        packing.attribute("pc", "counts", "ints"),
        node("ReduceProd", ["ws"], ["n"], keepdims=1),
        *(_factor_nodes() if variant else []),
    ]
    total = ""
    for b in range(MOST_PLANES):
        p = f"p{b}"
        nodes += [
            packing.constant(p + "k", [b], np.int64),
            node("Gather", ["pc", p + "k"], [p + "c"]),
            *gaps.unpack_nodes(f"plane{b}", p + "c", "n", p, p + "g"),
        ]
        plane = p
        if variant:
            # The one or the other is zero.
            nodes += [
                packing.constant(p + "i", b, np.int64),
                node("Gather", ["fp", p + "i"], [p + "f"], axis=0),
                node("Add", [p, p + "f"], [p + "a"]),
            ]
            plane = p + "a"
        nodes += [
            packing.constant(p + "w", 1 << b, np.int32),
            node("Mul", [plane, p + "w"], [p + "m"]),
        ]
        if total:
            nodes.append(node("Add", [total, p + "m"], [p + "s"]))
        total = p + ("s" if total else "m")
    return [*nodes, *_sign_nodes(total), *scale_nodes()]


def _sign_nodes(magnitude: str) -> list[onnx.NodeProto]:
    """``weight_int8`` from ``magnitude`` int32 [n] and the signs of the non-zeros.

    A weight's sign is the one at the number of non-zeros up to it, less one. Zeros take any sign.
    """
    node = helper.make_node
    return [
        packing.constant("i0", 0, np.int32),
        packing.constant("i1", 1, np.int32),
        packing.constant("l0", 0, np.int64),
        node("Less", ["i0", magnitude], ["nz"]),
        node("Cast", ["nz"], ["ni"], to=TensorProto.INT32),
        node("CumSum", ["ni", "l0"], ["nc"]),
        node("Sub", ["nc", "i1"], ["nm"]),
        node("Max", ["nm", "i0"], ["np"]),
        packing.constant("l6", [MOST_PLANES], np.int64),
        node("Gather", ["pc", "l6"], ["ns"]),
        *packing.unpack_nodes("signs", "ns", "sg", "u"),
        node("Gather", ["sg", "np"], ["sw"]),
        node("Add", ["sw", "sw"], ["sd"]),
        node("Sub", ["i1", "sd"], ["sf"]),
        node("Mul", [magnitude, "sf"], ["wi"]),
        node("Reshape", ["wi", "ws"], ["wr"]),
        node("Cast", ["wr"], ["weight_int8"], to=TensorProto.INT8),
    ]


def _factor_nodes() -> list[onnx.NodeProto]:
    """``fp`` int32 [6, n] = A_b B_b mod 2; A_b is A with the columns of other planes zeroed,
    as some runtimes multiply no empty matrices. Sums of ones are exact in float32."""
    node = helper.make_node
    return [
        packing.attribute("fb", "bounds", "ints"),
        packing.attribute("fl", "left_shape", "ints"),
        packing.attribute("fr", "right_shape", "ints"),
        *packing.unpack_nodes("left", "fl", "fa", "x"),
        *packing.unpack_nodes("right", "fr", "fi", "y"),
        packing.constant("f0", [0], np.int64),
        packing.constant("f1", [1], np.int64),
        packing.constant("f6", [MOST_PLANES], np.int64),
        packing.constant("f7", [MOST_PLANES + 1], np.int64),
        node("Slice", ["fb", "f0", "f6"], ["fs"]),
        node("Slice", ["fb", "f1", "f7"], ["fe"]),
        node("Unsqueeze", ["fs", "f1"], ["fsu"]),
        node("Unsqueeze", ["fe", "f1"], ["feu"]),
        node("Shape", ["fi"], ["fn"], end=1),
        packing.constant("fz", 0, np.int64),
        packing.constant("fo", 1, np.int64),
        node("Squeeze", ["fn", "f0"], ["fq"]),
        node("Range", ["fz", "fq", "fo"], ["ft"]),
        node("Less", ["ft", "fsu"], ["fb0"]),
        node("Not", ["fb0"], ["fb1"]),
        node("Less", ["ft", "feu"], ["fb2"]),
        node("And", ["fb1", "fb2"], ["fm"]),
        node("Cast", ["fm"], ["fmf"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["fmf", "f1"], ["fmu"]),
        node("Cast", ["fa"], ["faf"], to=TensorProto.FLOAT),
        node("Mul", ["faf", "fmu"], ["fma"]),
        node("Cast", ["fi"], ["fif"], to=TensorProto.FLOAT),
        node("MatMul", ["fma", "fif"], ["fpf"]),
        node("Cast", ["fpf"], ["fpi"], to=TensorProto.INT32),
        packing.constant("f2", 2, np.int32),
        node("Mod", ["fpi", "f2"], ["fpm"]),
        packing.constant("fsh", [MOST_PLANES, -1], np.int64),
        node("Reshape", ["fpm", "fsh"], ["fp"]),
    ]
