"""The conv and linear layers of a file, and the constants that hold their weights.

Four kinds of nodes are layers:

- a node of domain ``subbyte`` whose function unpacks a weight;
- a node of domain ``subbyte`` whose function gives another node its weight, or takes rows of it;
- a standard Conv, ConvTranspose, Gemm or MatMul with a stored weight;
- one whose weight is computed from stored constants alone, as in an inlined or a QDQ file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import onnx
from numpy.typing import NDArray

from subbyte.errors import ModelFileError, reason
from subbyte.graph.compressed.inline import LAYER_KEY, PACKED_KEY
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.write.layers import FLOAT_REASON
from subbyte.report.coded_nodes import Kind, StoredLayer, coded_kind, coded_layers, property_of
from subbyte.report.stored import StoredModel, constant_sources
from subbyte.runtime.ort import ERRORS, open_session, ort

_WEIGHT_INPUTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "MatMul": (1, 0)}
_OPS = {"Gemm": "Linear", "MatMul": "Linear"}


def find_layers(model: StoredModel, where: str) -> list[StoredLayer]:
    """Layers in the order in which they run; nodes that share a weight make one layer.

    Raises:
        ModelFileError: a coded layer of an unknown type, or a weight made by nodes that
            cannot be executed.
    """
    found: dict[frozenset[str], StoredLayer] = {}
    layers = [*coded_layers(model), *_standard_layers(model, where)]
    for layer in sorted(layers, key=lambda layer: layer.position):
        first = found.get(_same(found, layer.stored))
        if first is None:
            found[layer.stored] = layer
        else:
            found[first.stored] = replace(first, name=f"{first.name}, {layer.name}")
    return list(found.values())


def _same(found: Mapping[frozenset[str], StoredLayer], stored: frozenset[str]) -> frozenset[str]:
    """The weight among ``found`` that is made of the same constants.

    In an inlined file one reader may also count the tables with which it unpacks.
    """
    if stored in found:
        return stored
    return next((other for other in found if other <= stored or stored <= other), stored)


def _standard_layers(model: StoredModel, where: str) -> list[StoredLayer]:
    graph = model.proto.graph
    sources = constant_sources(graph, model.constants)
    makers = {output: node for node in graph.node for output in node.output}
    weights = [
        (position, node, node.input[index])
        for position, node in enumerate(graph.node)
        for index in _WEIGHT_INPUTS.get(node.op_type, ())
        if not node.domain and len(node.input) > 1
        if sources.get(node.input[index]) and node.input[1 - index] not in sources
        if not _is_unpacked(makers.get(node.input[index]))
    ]
    shapes = _shapes(model, [weight for *_, weight in weights], sources, where)
    return [
        _standard_layer(position, node, weight, shapes[weight], sources[weight], makers)
        for position, node, weight in weights
    ]


def _is_unpacked(maker: onnx.NodeProto | None) -> bool:
    """Whether a value is a weight that a function of ours unpacks: that is the layer."""
    return maker is not None and (maker.domain == DOMAIN or bool(property_of(maker, PACKED_KEY)))


def _standard_layer(
    position: int,
    node: onnx.NodeProto,
    weight: str,
    shape: tuple[int, ...],
    stored: frozenset[str],
    makers: Mapping[str, onnx.NodeProto],
) -> StoredLayer:
    coded_as = property_of(node, LAYER_KEY)
    kind = coded_kind(coded_as) if coded_as else _standard_kind(node, weight, stored, makers)
    if coded_as and node.op_type == "MatMul" and weight == node.input[1]:
        shape = shape[::-1]
    return StoredLayer(
        position=position,
        name=node.name or node.output[0],
        op=kind.op,
        method=kind.method,
        shape=shape,
        stored=stored,
        attribute_bytes=0,
        bias=node.input[2] if len(node.input) > 2 else "",
        activations=kind.activations,
        reason=property_of(node, FLOAT_REASON),
    )


def _standard_kind(
    node: onnx.NodeProto,
    weight: str,
    stored: frozenset[str],
    makers: Mapping[str, onnx.NodeProto],
) -> Kind:
    data = next(name for name in node.input[:2] if name != weight)
    quantized = data in makers and makers[data].op_type == "DequantizeLinear"
    method = "float"
    if weight in makers and makers[weight].op_type != "Constant":
        maker = makers[weight]
        direct = maker.op_type == "DequantizeLinear" and stored == frozenset(maker.input)
        method = "int8" if direct else "packed"
    op = _OPS.get(node.op_type, node.op_type)
    return Kind(op, method, "int8" if quantized else "float")


def _shapes(
    model: StoredModel, weights: list[str], sources: Mapping[str, frozenset[str]], where: str
) -> dict[str, tuple[int, ...]]:
    """Shapes of weights: as stored, else by computing them."""
    shapes = {name: model.constants[name].shape for name in weights if name in model.constants}
    computed = [name for name in dict.fromkeys(weights) if name not in shapes]
    if computed:
        values = _compute(model.proto, computed, sources, where)
        shapes |= {name: value.shape for name, value in zip(computed, values, strict=True)}
    return shapes


def _compute(
    proto: onnx.ModelProto, names: list[str], sources: Mapping[str, frozenset[str]], where: str
) -> list[NDArray[Any]]:
    """Run the nodes that depend on constants alone."""
    part = onnx.ModelProto()
    part.CopyFrom(proto)
    del part.graph.input[:], part.graph.output[:], part.graph.node[:], part.graph.value_info[:]
    part.graph.node.extend(
        node for node in proto.graph.node if node.output and node.output[0] in sources
    )
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = open_session(part.SerializeToString(), options)
        values: list[NDArray[Any]] = session.run(names, {})
    except ERRORS as error:
        raise ModelFileError(
            "the model's weights cannot be computed", where=where, got=reason(error)
        ) from error
    return values
