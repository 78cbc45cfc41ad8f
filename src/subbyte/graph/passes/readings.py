"""How a node reads a constant: as which matrix, if it multiplies with it or takes its rows.

A weight is coded as W[O, T, I], a scale for every output o: the axes of the stored array along
which the node sums decide. One table has them for every operator that is covered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.network import Order
from subbyte.graph.ops import PREPARED
from subbyte.methods.coded import WeightShape

CONTRIB = "com.microsoft"
RECURRENT = ("LSTM", "GRU", "RNN")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """``order``: from the stored array to W[O, T, I]; ``shape``: of the latter."""

    order: Order
    shape: WeightShape


Find = Callable[[ir.Node, Shape], Reading | None]


def reading_of(node: ir.Node, place: int) -> Reading | None:
    """How ``node`` reads the constant at ``place``; None where it is no weight that is covered."""
    array = query.float_constant(node.inputs[place])
    find = _TABLE.get((node.domain, node.op_type), {}).get(place)
    if array is None or find is None or min(array.shape, default=0) == 0:
        return None
    return find(node, array.shape)


def _kernel(node: ir.Node, shape: Shape) -> Reading | None:
    groups = node.attributes.get_int("group", 1)
    if len(shape) < 3 or groups < 1 or shape[0] % groups:
        return None
    return Reading("kernel", WeightShape(shape[0], math.prod(shape[2:]), shape[1], groups))


def _transposed_kernel(node: ir.Node, shape: Shape) -> Reading | None:
    groups = node.attributes.get_int("group", 1)
    if len(shape) < 3 or groups < 1 or shape[0] % groups:
        return None
    found = WeightShape(shape[1] * groups, math.prod(shape[2:]), shape[0] // groups, groups)
    return Reading("transposed kernel", found)


def _rows(node: ir.Node, shape: Shape) -> Reading | None:
    """Rows along the first axis, whole: a table that Gather reads."""
    if len(shape) < 2 or node.attributes.get_int("axis", 0) != 0:
        return None
    return Reading("stored", WeightShape(shape[0], 1, math.prod(shape[1:])))


def _matrices(node: ir.Node, shape: Shape) -> Reading | None:
    """[..., O, I], the matrices of the leading axes each by itself."""
    del node
    if len(shape) < 2:
        return None
    return Reading("stored", WeightShape(math.prod(shape[:-1]), 1, shape[-1], _batch(shape)))


def _turned(node: ir.Node, shape: Shape) -> Reading | None:
    """[..., I, O], the matrices of the leading axes each by itself."""
    del node
    if len(shape) < 2:
        return None
    outputs = _batch(shape) * shape[-1]
    return Reading("turned", WeightShape(outputs, 1, shape[-2], _batch(shape)))


def _batch(shape: Shape) -> int:
    return math.prod(shape[:-2])


def _flagged(flag: str, plain: Find, flagged: Find) -> Find:
    """``flagged`` where the node has the attribute ``flag``, else ``plain``; none of arrays
    whose batch axes are moved too."""

    def find(node: ir.Node, shape: Shape) -> Reading | None:
        if any(node.attributes.get_int(name, 0) for name in ("transBatchA", "transBatchB")):
            return None
        return (flagged if node.attributes.get_int(flag, 0) else plain)(node, shape)

    return find


_PRODUCT: Mapping[int, Find] = {
    0: _flagged("transA", _matrices, _turned),
    1: _flagged("transB", _turned, _matrices),
}
_CONV: Mapping[int, Find] = {1: _kernel}
_RIGHT: Mapping[int, Find] = {1: _turned}
_GATES: Mapping[int, Find] = {1: _matrices, 2: _matrices}

_TABLE: Mapping[tuple[str, str], Mapping[int, Find]] = {
    (PREPARED, "Linear"): {1: _matrices},
    ("", "Conv"): _CONV,
    ("", "DeformConv"): _CONV,
    ("", "ConvTranspose"): {1: _transposed_kernel},
    ("", "Gemm"): _PRODUCT,
    ("", "MatMul"): {0: _matrices, 1: _turned},
    ("", "Einsum"): dict.fromkeys(range(4), _matrices),
    ("", "Gather"): {0: _rows},
    **{("", kind): _GATES for kind in RECURRENT},
    (CONTRIB, "FusedConv"): _CONV,
    (CONTRIB, "FusedMatMul"): _PRODUCT,
    (CONTRIB, "FusedMatMulActivation"): _PRODUCT,
    (CONTRIB, "FusedGemm"): _PRODUCT,
    (CONTRIB, "TransposeMatMul"): _PRODUCT,
    (CONTRIB, "GemmFastGelu"): _RIGHT,
    (CONTRIB, "Attention"): _RIGHT,
    (CONTRIB, "LongformerAttention"): {1: _turned, 4: _turned},
    (CONTRIB, "DecoderAttention"): {2: _turned, 3: _turned},
    (CONTRIB, "EmbedLayerNormalization"): {2: _rows},
    (CONTRIB, "AttnLSTM"): _GATES,
}
