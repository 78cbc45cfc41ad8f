"""Finding the weights that are unpacked before their node reads them, and the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.nested import nested_nodes
from subbyte.graph.network import Layer, UncodedConstant, Unpacked
from subbyte.graph.passes.readings import CONTRIB, RECURRENT, Reading, reading_of
from subbyte.graph.passes.share_weights import LEAST_COUNT

NARROW = 16
"""The most bits of an integer that is a weight, and no index or size."""

_QUANTIZED = frozenset(
    {
        "DynamicQuantizeLSTM",
        "GatherBlockQuantized",
        "MatMulBnb4",
        "MatMulFpQ4",
        "MatMulNBits",
        "QAttention",
        "QEmbedLayerNormalization",
        "QGemm",
        "QLinearConv",
        "QMoE",
        "QOrderedMatMul",
    }
)
"""Operators of quantized networks that are covered in part or not at all."""


def find_unpacked(model: ir.Model, layers: Sequence[Layer]) -> tuple[Unpacked, ...]:
    """The weights of `LEAST_COUNT` numbers and more that other nodes than layers read, one for
    every place where one is read, in execution order."""
    nodes = {layer.node for layer in layers}
    names = {layer.name for layer in layers}
    found: list[Unpacked] = []
    for owner in model.graph:
        if owner in nodes:
            continue
        for node in (owner, *nested_nodes(owner)):
            for place, value in enumerate(node.inputs):
                if value is None or not _is_codable(value):
                    continue
                reading = reading_of(node, place)
                if reading is not None:
                    found.append(_unpacked(owner, node, place, reading, names))
    return tuple(found)


def _is_codable(value: ir.Value) -> bool:
    """A float32 initializer of the graph itself, of many numbers that are not all zero."""
    array = query.float_constant(value) if value.is_initializer() else None
    return (
        array is not None
        and array.dtype == np.float32
        and array.size >= LEAST_COUNT
        and bool(array.any())
        and not value.is_graph_output()
    )


def _unpacked(
    owner: ir.Node, node: ir.Node, place: int, reading: Reading, names: set[str]
) -> Unpacked:
    value, array = node.inputs[place], query.float_constant(node.inputs[place])
    assert value is not None  # noqa: S101 - it is codable
    assert array is not None  # noqa: S101 - it is codable
    name = str(owner.name)
    if node is not owner:
        name = f"{name}.{node.name}" if node.name else name
    if node.op_type in RECURRENT:
        name = f"{name}.{'WR'[place - 1]}"
    return Unpacked(
        name=_unique(name, names),
        op=node.op_type,
        node=owner,
        place=place if node is owner else None,
        weight=str(value.name),
        shape=reading.shape,
        order=reading.order,
        stored=tuple(array.shape),
        rows=node is owner and node.domain == "" and node.op_type == "Gather",
    )


def _unique(name: str, names: set[str]) -> str:
    candidate, count = name, 1
    while candidate in names:
        count += 1
        candidate = f"{name}_{count}"
    names.add(candidate)
    return candidate


def find_uncoded(
    model: ir.Model, layers: Sequence[Layer], unpacked: Sequence[Unpacked]
) -> tuple[UncodedConstant, ...]:
    """The weights of `LEAST_COUNT` numbers and more that are coded nowhere and are no layer's
    bias: constants of the types of `is_weight_type`."""
    coded = {layer.weight for layer in layers} | {entry.weight for entry in unpacked}
    coded |= {layer.bias for layer in layers if layer.bias is not None}
    found = []
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or name in coded or tensor.size < LEAST_COUNT:
            continue
        if is_weight_type(tensor.dtype) and (value.uses() or value.is_graph_output()):
            reason = _reason(value, bool(tensor.numpy().any()))
            kind = tensor.dtype.name
            found.append(UncodedConstant(name, tensor.size, tensor.nbytes, kind, reason))
    return tuple(found)


def _reason(value: ir.Value, any_number: bool) -> str:
    if not any_number:
        return "all zero"
    if value.is_graph_output():
        return "an output of the network"
    return read_by((use.node.domain, use.node.op_type) for use in value.uses())


def is_weight_type(kind: ir.DataType) -> bool:
    """Whether large constants of a type are weights: floats, and integers of 16 bits and fewer.

    Wider integers are indices and sizes, booleans are masks.
    """
    return kind.is_floating_point() or (kind.is_integer() and kind.bitwidth <= NARROW)


def read_by(operators: Iterable[tuple[str, str]]) -> str:
    """Why a constant is not coded, by the operators that read it (domain and type): none of them
    multiplies with it or takes its rows in a way that is covered. With a way out, if there is
    one."""
    found = sorted(set(operators))
    names = [kind if domain in ("", CONTRIB) else f"{domain}.{kind}" for domain, kind in found]
    ways = dict.fromkeys(way for each in found if (way := _way_out(*each)))
    return "; ".join([f"read by {', '.join(sorted(names))}", *ways])


def _way_out(domain: str, kind: str) -> str:
    if domain == "com.microsoft.nchwc":
        return "save the network with ONNX Runtime's optimization at extended or below to code it"
    if domain == "" and kind in ("GatherND", "GatherElements"):
        return "a table that Gather reads is coded"
    if domain == "" and kind == "Gather":
        return "tables of two axes are coded, where the rank of the indices is known"
    if domain == CONTRIB and kind in _QUANTIZED:
        return "compress the float network instead to code it"
    return ""
