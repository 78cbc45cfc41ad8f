"""The options of a product code and its packed form.

With d = ``group``, K = ``words``, group g = i // d of the input channels:

    W[o, t, i] ~ scale[o] * gain[o, t, g] * codebook[g, code[o, t, g], i % d]

``codebook`` is int8, every word's entries within +-63 and its positive and its negative
entries each summing to at most 126, so that the native kernel's table of inner products
fits its 16-bit step. ``gain`` is an int8 level over 64. The effective integer weight is
rint(gain_level * word / 64), within +-63.
"""

from __future__ import annotations

import math
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

GROUPS = (2, 3, 4, 6, 8)
WORDS = (16, 32, 64, 128, 256)
GAIN_UNIT = 64
WORD_LIMIT = 63
PART_LIMIT = 126

Procedure = Literal["corrected", "paper", "paper-plain"]
PROCEDURES: tuple[Procedure, ...] = ("corrected", "paper", "paper-plain")

_MAGNITUDES = {
    1: (1.0,),
    2: (1.0, 0.5),
    3: (1.0, 0.7, 0.45, 0.25),
    4: (1.0, 0.8, 0.64, 0.5, 0.38, 0.28, 0.18, 0.08),
}


@dataclass(frozen=True)
class ProductOptions(MethodOptions):
    """d, K and gain of a product code; the paper has neither gains nor shared codebooks.

    This is the code of one weight, as a plan file has it: an option that is left out has its
    default, so that a code without ``gain`` has no gain. A choice, ``Product()`` or ``--method
    product``, fixes only the options that it names, and planning chooses the others: without a
    budget ``group`` 4, ``words`` 16 and ``gain`` 3.
    """

    method: ClassVar[str] = "product"

    group: int = option(
        "d, input channels a code; with a budget the fewest", 4, allowed=range(1, 17)
    )
    words: int = option("K, words a codebook; with a budget the most", 16, allowed=WORDS)
    gain: int = option(
        "bits of gain a code: 0 none, 1 a sign, 2-4 sign and magnitude", 0, allowed=range(5)
    )
    shared: bool = option("one codebook a layer, instead of one a channel group", False)
    procedure: Procedure = option(
        "corrected: ours; paper: Q-CNN's; paper-plain: without its error correction",
        "corrected",
        allowed=PROCEDURES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.published and (self.gain or self.shared):
            raise OptionError(
                "product: the paper has one codebook per channel group, and no gain",
                expected="gain 0, not shared",
                got=f"gain {self.gain}, {'' if self.shared else 'not '}shared",
            )

    def describe(self) -> str:
        """``product 4, gain 3, shared``."""
        gain = f", gain {self.gain}" if self.gain else ""
        return f"product {self.group}{gain}{', shared' if self.shared else ''}"

    @property
    def published(self) -> bool:
        """Q-CNN's procedures."""
        return self.procedure != "corrected"

    @property
    def trains_linear(self) -> bool:
        """Q-CNN trains the linear layers on the outputs of the coded convolutions."""
        return self.published

    def fit(self, published: bool) -> Fit:
        """Q-CNN fits responses, or the weights alone."""
        del published
        fits: dict[str, Fit] = {"paper": "responses", "paper-plain": "weights"}
        return fits.get(self.procedure, "corrected")

    @property
    def code_bits(self) -> int:
        """log2(words)."""
        return int(math.log2(self.words))

    def gain_levels(self) -> NDArray[np.int8]:
        """The 2**gain int8 levels over 64: a sign and a magnitude; ``[64]`` without gain."""
        if self.gain == 0:
            return np.array([GAIN_UNIT], np.int8)
        sizes = np.rint(GAIN_UNIT * np.array(_MAGNITUDES[self.gain]))
        return np.stack([sizes, -sizes], axis=1).reshape(-1).astype(np.int8)


def sub_columns(shape: WeightShape) -> int:
    """The vectors of d channels that the codebook of one channel group stands for."""
    return shape.outputs // shape.groups * shape.taps


def most_words(columns: int) -> int:
    """The largest K that ``columns`` vectors fill; 16, the least there is, if none does."""
    return max((words for words in WORDS if words <= columns), default=WORDS[0])


def check_words(shape: WeightShape, options: ProductOptions) -> None:
    """Raise `OptionError` where a codebook has more words than there is to stand for.

    16 words, the least there are, are allowed everywhere.
    """
    columns = sub_columns(shape)
    if options.shared:
        columns *= -(-shape.inputs // options.group)
    if options.words > most_words(columns):
        raise OptionError(
            f"product: more words than the layer's {columns} sub-columns",
            expected=f"at most {most_words(columns)} words",
            got=options.words,
        )


def stored_bytes(shape: WeightShape, options: ProductOptions) -> int:
    """Bytes `pack` will use: codes, gains, codebooks, scales."""
    channel_groups = -(-shape.inputs // options.group)
    rows = -(-shape.outputs * shape.taps * channel_groups // 8)
    books = 1 if options.shared else channel_groups * shape.groups
    gains = len(options.gain_levels()) if options.gain else 0
    return (
        rows * (options.code_bits + options.gain)
        + books * options.words * options.group
        + gains
        + 2 * shape.outputs
        + 4
    )


def blank(shape: WeightShape, options: ProductOptions) -> CodedWeight:
    """A coded weight of zeros."""
    groups = -(-shape.inputs // options.group)
    codes = np.zeros((shape.outputs, shape.taps, groups), np.uint8)
    books = 1 if options.shared else groups * shape.groups
    book = np.zeros((books, options.words, options.group), np.int8)
    return pack(shape, options, codes, codes, book, np.ones(shape.outputs, np.float32))


def pack(
    shape: WeightShape,
    options: ProductOptions,
    codes: NDArray[np.integer],
    gain_codes: NDArray[np.integer],
    codebook: NDArray[np.int8],
    scale: NDArray[np.float32],
) -> CodedWeight:
    """Pack codes and gain codes [O, T, G], codebook [books, K, d] int8 and scale [O] float32."""
    channel_groups = -(-shape.inputs // options.group)
    half, base = pack_scale(scale)
    inputs: dict[str, NDArray[np.generic]] = {
        "codes": packing.pack(codes, options.code_bits),
        "codebook": codebook,
        "scale": half,
    }
    if options.gain:
        inputs["gain_codes"] = packing.pack(gain_codes, options.gain)
        inputs["gains"] = options.gain_levels()
    per_group = shape.outputs // shape.groups
    return CodedWeight(
        method="product",
        variant="Gain" if options.gain else "",
        shape=shape,
        inputs=inputs,
        attributes={
            "code_shape": [shape.groups, per_group, shape.taps, channel_groups],
            "weight_shape": [shape.outputs, shape.taps, shape.inputs],
            "scale_base": base,
        },
    )


def decode(coded: CodedWeight) -> NDArray[np.int8]:
    """Effective integer weights int8 [O, T, I]."""
    shape = coded.shape
    codebook = coded.inputs["codebook"].astype(np.int32)
    books, words, group = codebook.shape
    grid = _grid(coded)
    channel_groups, count = grid[-1], math.prod(grid)
    codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), count).reshape(grid)
    offset = np.arange(shape.groups * channel_groups) * (words if books > 1 else 0)
    index = codes + offset.reshape(shape.groups, 1, 1, channel_groups)
    weight = codebook.reshape(-1, group)[index]
    if coded.variant:
        gain_codes = packing.unpack(coded.inputs["gain_codes"].astype(np.uint8), count)
        gain = coded.inputs["gains"].astype(np.int32)[gain_codes].reshape(*grid, 1)
        weight = np.rint(gain * weight / GAIN_UNIT)
    flat = weight.reshape(shape.outputs, shape.taps, channel_groups * group)
    return flat[:, :, : shape.inputs].astype(np.int8)


def _grid(coded: CodedWeight) -> tuple[int, int, int, int]:
    """Convolution groups, outputs of each, taps, channel groups of each."""
    shape = coded.shape
    channel_groups = -(-shape.inputs // coded.inputs["codebook"].shape[2])
    return shape.groups, shape.outputs // shape.groups, shape.taps, channel_groups


def tables(coded: CodedWeight) -> LookupTables:
    """Words, codes and gains as they are."""
    grid = _grid(coded)
    count, shape = math.prod(grid), (grid[0] * grid[1], *grid[2:])
    codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), count).reshape(shape)
    gains = None
    if coded.variant:
        gain_codes = packing.unpack(coded.inputs["gain_codes"].astype(np.uint8), count)
        levels = (coded.inputs["gains"].astype(np.float32) / GAIN_UNIT).astype(np.float32)
        gains = levels[gain_codes].reshape(shape)
    return LookupTables(coded.inputs["codebook"].astype(np.int8), codes.astype(np.uint8), gains)


def made_with(coded: CodedWeight) -> ProductOptions:
    """The options that a weight was made with, but for its procedure."""
    books, words, group = coded.inputs["codebook"].shape
    gain = coded.inputs["gain_codes"].shape[1] if coded.variant else 0
    channel_groups = -(-coded.shape.inputs // group)
    shared = books == 1 and channel_groups * coded.shape.groups > 1
    return ProductOptions(group, words, gain, shared)


def options_of(coded: CodedWeight) -> dict[str, Value]:
    """The options that the packed form shows; ``shared`` where it is."""
    found = made_with(coded)
    shown: dict[str, Value] = {"group": found.group, "words": found.words, "gain": found.gain}
    return shown | ({"shared": True} if found.shared else {})


def kernel(options: ProductOptions) -> Kernel:
    """Inner products with the words are looked up."""
    return Kernel(lookup=options.group, words=options.words, gain=options.gain > 0)


def weight_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from codes, codebook, scale (and gain_codes, gains) to weight_int8, weight_scale."""
    node = helper.make_node
    nodes = [
        packing.attribute("cs", "code_shape", "ints"),
        *packing.unpack_nodes("codes", "cs", "c", "a"),
        *_index_nodes(),
        node("Gather", ["cb", "ix"], ["w0"], axis=0),
    ]
    if variant == "Gain":
        nodes += [*packing.unpack_nodes("gain_codes", "cs", "g", "b"), *_gain_nodes("w0", "w1")]
    return [*nodes, *_layout_nodes("w1" if variant == "Gain" else "w0"), *scale_nodes()]


def row_nodes(variant: str) -> list[onnx.NodeProto]:
    """Nodes from codes, codebook, scale (and gain_codes, gains), the attributes and ``rows``
    int64 [n] to row_int8 [n, I] and row_scale [n] of a weight of one tap without groups."""
    node = helper.make_node
    nodes = [
        packing.attribute("cs", "code_shape", "ints"),
        packing.constant("last", [3], np.int64),
        node("Gather", ["cs", "last"], ["cw"]),
        packing.constant("axes", [0, 2], np.int64),
        *packing.unpack_rows_nodes("codes", "rows", "cw", "c0", "a"),
        node("Unsqueeze", ["c0", "axes"], ["c"]),
        *_index_nodes(),
        node("Gather", ["cb", "ix"], ["w0"], axis=0),
    ]
    if variant == "Gain":
        nodes += [
            *packing.unpack_rows_nodes("gain_codes", "rows", "cw", "g0", "b"),
            node("Unsqueeze", ["g0", "axes"], ["g"]),
            *_gain_nodes("w0", "w1"),
        ]
    return [
        *nodes,
        node("Squeeze", ["w1" if variant == "Gain" else "w0", "axes"], ["wq"]),
        node("Flatten", ["wq"], ["wp"], axis=1),
        packing.attribute("ws", "weight_shape", "ints"),
        packing.constant("two", [2], np.int64),
        packing.constant("one", [1], np.int64),
        node("Gather", ["ws", "two"], ["wi"]),
        node("Slice", ["wp", "v0", "wi", "one"], ["row_int8"]),
        *row_scale_nodes(),
    ]


def _index_nodes() -> list[onnx.NodeProto]:
    """``ix`` = code + K * codebook number (P rows of them, or a single 0); ``cb`` [., d]."""
    node = helper.make_node
    return [
        node("Shape", ["codebook"], ["sh"]),
        packing.constant("k0", 0, np.int64),
        packing.constant("k1", 1, np.int64),
        node("Gather", ["sh", "k0"], ["nb"], axis=0),
        node("Gather", ["sh", "k1"], ["nk"], axis=0),
        node("Range", ["k0", "nb", "k1"], ["rg"]),
        node("Mul", ["rg", "nk"], ["of"]),
        packing.constant("v0", [0], np.int64),
        packing.constant("v1", [1, 1, -1], np.int64),
        node("Gather", ["cs", "v0"], ["pg"], axis=0),
        node("Concat", ["pg", "v1"], ["os"], axis=0),
        node("Cast", ["of"], ["oc"], to=TensorProto.INT32),
        node("Reshape", ["oc", "os"], ["og"]),
        node("Add", ["c", "og"], ["ix"]),
        packing.constant("m1", [-1], np.int64),
        node("Shape", ["codebook"], ["dd"], start=2),
        node("Concat", ["m1", "dd"], ["sc"], axis=0),
        node("Reshape", ["codebook", "sc"], ["cb"]),
    ]


def _gain_nodes(word: str, output: str) -> list[onnx.NodeProto]:
    """``output`` = rint(gain * word / 64) int8; exact, as the product is a small integer."""
    node = helper.make_node
    return [
        node("Gather", ["gains", "g"], ["gv"], axis=0),
        node("Cast", ["gv"], ["gf"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["gf", "m1"], ["gu"]),
        node("Cast", [word], ["wf"], to=TensorProto.FLOAT),
        node("Mul", ["wf", "gu"], ["wg"]),
        packing.constant("gs", 1 / GAIN_UNIT, np.float32),
        node("Mul", ["wg", "gs"], ["wh"]),
        node("Round", ["wh"], ["wr"]),
        node("Cast", ["wr"], [output], to=TensorProto.INT8),
    ]


def _layout_nodes(word: str) -> list[onnx.NodeProto]:
    """[P, O/P, T, G, d] -> ``weight_int8`` [O, T, I], the padding channels cut off."""
    node = helper.make_node
    return [
        packing.attribute("ws", "weight_shape", "ints"),
        packing.constant("v2", [0, 1], np.int64),
        packing.constant("v3", [2], np.int64),
        node("Gather", ["ws", "v2"], ["wo"], axis=0),
        node("Gather", ["ws", "v3"], ["wi"], axis=0),
        node("Concat", ["wo", "m1"], ["wp"], axis=0),
        node("Reshape", [word, "wp"], ["wq"]),
        node("Slice", ["wq", "v0", "wi", "v3"], ["weight_int8"]),
    ]
