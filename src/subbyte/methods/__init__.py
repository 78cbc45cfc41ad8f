"""The methods: how a weight is coded, packed, and unpacked again.

One row of `METHODS` a method. A method knows weights and their second moments; it knows
no graph and sees no samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from subbyte.methods import binary, composite, product, scalar, ternary
from subbyte.methods.binary import form as binary_form
from subbyte.methods.binary.form import Binarization
from subbyte.methods.coded import CodedWeight, LookupTables, WeightShape
from subbyte.methods.composite import form as composite_form
from subbyte.methods.product import form as product_form
from subbyte.methods.scalar import form as scalar_form
from subbyte.methods.ternary import form as ternary_form

__all__ = [
    "METHODS",
    "Binarization",
    "CodedWeight",
    "LookupTables",
    "Method",
    "WeightShape",
    "binarization_of",
    "decode_weight",
]


@dataclass(frozen=True)
class Method:
    """One way of coding a weight.

    ``weight_nodes(variant)`` gives standard ONNX nodes that define ``weight_int8``
    [O, T, I] and ``weight_scale`` [O] from the packed inputs and attributes. ``tables`` is
    None for a weight that a kernel multiplies with, instead of looking products up.
    ``row_nodes(variant)`` gives nodes that unpack only the rows that a table is asked for:
    ``row_int8`` [n, I] and ``row_scale`` [n] from ``rows`` int64 [n]; None where there are none.
    ``binarization``: of the layer's input, by variant; None where that is left as it is.
    """

    name: str
    paper: str
    becomes: str
    bits: str
    options: Mapping[str, str]
    variants: tuple[str, ...]
    decode: Callable[[CodedWeight], NDArray[np.int8]]
    scale: Callable[[CodedWeight], NDArray[np.float32]]
    weight_nodes: Callable[[str], list[onnx.NodeProto]]
    summary: str
    tables: Callable[[CodedWeight], LookupTables | None] = lambda coded: None
    binarization: Callable[[str], Binarization | None] = lambda variant: None
    row_nodes: Callable[[str], list[onnx.NodeProto]] | None = None


METHODS: Mapping[str, Method] = {
    "product": Method(
        name="product",
        paper="Q-CNN (Wu et al., CVPR 2016, arXiv 1512.06473)",
        becomes="groups of d input channels -> one of K words, times a sign or gain",
        bits="0.5-3",
        options={
            "group": "d, channels a code: 1, 2, 3, 4, 6 or 8",
            "words": "K, words a codebook: 16, 32, 64, 128 or 256",
            "gain": "bits of gain a code: 0 none, 1 sign, 2-4 sign and magnitude",
            "shared": "one codebook a layer instead of one a channel group",
            "procedure": "corrected: ours; paper: Q-CNN's; paper-plain: without error correction",
        },
        variants=("", "Gain"),
        decode=product_form.decode,
        scale=product_form.scale,
        weight_nodes=product_form.weight_nodes,
        row_nodes=product_form.row_nodes,
        tables=product_form.tables,
        summary=(product.__doc__ or "").splitlines()[0],
    ),
    "scalar": Method(
        name="scalar",
        paper="uniform grid; 2 bits as in soft/hard quantization (Hung et al., SiPS 2015)",
        becomes="one of 2^bits evenly spaced levels, with a scale per output",
        bits="2, 3, 4, 8",
        options={
            "bits": "bits a weight: 2, 3, 4 or 8",
            "procedure": "exact: weights that lie on a grid of 2, 3 or 4 bits, kept as they are",
        },
        variants=("",),
        decode=scalar_form.decode,
        scale=scalar_form.scale,
        weight_nodes=scalar_form.weight_nodes,
        row_nodes=scalar_form.row_nodes,
        tables=scalar_form.tables,
        summary=(scalar.__doc__ or "").splitlines()[0],
    ),
    "ternary": Method(
        name="ternary",
        paper="FFN (Wang and Cheng, CVPR 2017, arXiv 1611.01972)",
        becomes="X diag(d) Y^T with X and Y in {-1, 0, 1}",
        bits="1-4",
        options={
            "rank": "k, terms: at most 4 * min(outputs, inputs of a group)",
            "rank-ratio": "k over min(outputs, inputs); 1 is the paper's",
        },
        variants=("",),
        decode=ternary_form.decode,
        scale=ternary_form.scale,
        weight_nodes=ternary_form.weight_nodes,
        summary=(ternary.__doc__ or "").splitlines()[0],
    ),
    "composite": Method(
        name="composite",
        paper="CBDNet (Qiaoben et al., AAAI 2019, arXiv 1811.06668)",
        becomes="sign and up to 6 bits of magnitude, each bit plane coded by itself",
        bits="1-7",
        options={
            "planes": "J, bits of magnitude: 1 to 6",
            "procedure": "corrected: fitted to the samples; paper: the weight itself rounded",
            "bottleneck": "paper: rank over min(h, w) that sets the threshold; above 0, to 1",
        },
        variants=("", composite_form.FACTORED),
        decode=composite_form.decode,
        scale=composite_form.scale,
        weight_nodes=composite_form.weight_nodes,
        summary=(composite.__doc__ or "").splitlines()[0],
    ),
    "binary": Method(
        name="binary",
        paper="HORQ (Li et al., ICCV 2017, arXiv 1708.08687); XNOR-Net at order 1",
        becomes="a sign, with a scale per output; inputs become the sum of K scaled signs",
        bits="1",
        options={
            "order": "K, sign tensors an input becomes: 1 to 8",
            "scales": "what shares their scales: column (the paper's), pixel or image",
            "procedure": "corrected: fitted to the samples; paper: sign and mean of the weight",
        },
        variants=tuple(binary_form.VARIANTS),
        decode=binary_form.decode,
        scale=binary_form.scale,
        weight_nodes=binary_form.weight_nodes,
        summary=(binary.__doc__ or "").splitlines()[0],
        binarization=binary_form.VARIANTS.__getitem__,
    ),
}


def binarization_of(coded: CodedWeight) -> Binarization | None:
    """How the input of a layer with this weight is binarized, if it is."""
    return METHODS[coded.method].binarization(coded.variant)


def decode_weight(coded: CodedWeight) -> NDArray[np.float32]:
    """The effective float weight [O, T, I]: scale[o] * integer weight[o, t, i]."""
    method = METHODS[coded.method]
    integers = method.decode(coded).astype(np.float32)
    return integers * method.scale(coded)[:, None, None]
