"""The conv and linear layers of a file, and the constants that hold their weights.

Four kinds of nodes are layers:

- a node of domain ``subbyte`` whose function unpacks a weight;
- a node of domain ``subbyte`` whose function gives another node its weight, or takes rows of it;
- a standard Conv, ConvTranspose, Gemm or MatMul with a stored weight;
- one whose weight is computed from stored constants alone, as in an inlined or a QDQ file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from subbyte.errors import ModelFileError, reason
from subbyte.graph.compressed.inline import LAYER_KEY, PACKED_KEY, SHAPE_KEY
from subbyte.graph.compressed.packed_weights import known_method
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import ROWS, gives_weight
from subbyte.graph.write.layers import FLOAT_REASON
from subbyte.report.stored import StoredModel, constant_sources, reading_operators
from subbyte.runtime.ort import ERRORS, open_session, ort

_CODED_TYPE = re.compile(
    r"(ConvTranspose|Conv|LinearLeft|Linear)(?:Same|Sized)?(Float|Dequant|Add|)$"
)
_FORMS = {"Float": "float", "Dequant": "int8 in, float out", "Add": "int8", "": "int8"}
_WEIGHT_INPUTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "MatMul": (1, 0)}
_OPS = {"Gemm": "Linear", "MatMul": "Linear"}


@dataclass(frozen=True)
class StoredLayer:
    """One weight, and the first node that uses it.

    ``position``: the place of the node in the graph. ``stored``: the constants that the weight is
    made of. ``bias``: the constant of the bias. ``attribute_bytes``: the bytes of the weight's
    numbers that stand in the node itself.

    ``method`` is a name from the table of methods, "float", "int8" (a stored weight behind a
    DequantizeLinear) or "packed" (behind anything else). ``reason`` says why a coded layer computes
    on float values.
    """

    position: int
    name: str
    op: str
    method: str
    shape: tuple[int, ...]
    stored: frozenset[str]
    attribute_bytes: int
    bias: str
    activations: str
    reason: str


@dataclass(frozen=True)
class _Kind:
    op: str
    method: str
    activations: str


def find_layers(model: StoredModel, where: str) -> list[StoredLayer]:
    """Layers in the order in which they run; nodes that share a weight make one layer.

    Raises:
        ModelFileError: a coded layer of an unknown type, or a weight made by nodes that
            cannot be executed.
    """
    found: dict[frozenset[str], StoredLayer] = {}
    layers = [*_coded_layers(model), *_standard_layers(model, where)]
    for layer in sorted(layers, key=lambda layer: layer.position):
        first = found.get(_same(found, layer.stored))
        if first is None:
            found[layer.stored] = layer
        else:
            found[first.stored] = replace(first, name=f"{first.name}, {layer.name}")
    return list(found.values())


def _same(found: Mapping[frozenset[str], StoredLayer], stored: frozenset[str]) -> frozenset[str]:
    """Of the weights ``found``, the one that is made of the same constants: in an inlined file
    one reader may also count the tables with which it unpacks."""
    if stored in found:
        return stored
    return next((other for other in found if other <= stored or stored <= other), stored)


def _coded_layers(model: StoredModel) -> Iterator[StoredLayer]:
    functions = {function.name: function for function in model.proto.functions}
    for position, node in enumerate(model.proto.graph.node):
        if _property(node, PACKED_KEY):
            yield _inlined_weight(position, node, model)
        if node.domain != DOMAIN or node.op_type not in functions:
            continue
        function = functions[node.op_type]
        if gives_weight(node.op_type):
            yield _unpacked_layer(position, node, function, model)
            continue
        unpack = next((inner for inner in function.node if inner.domain == DOMAIN), None)
        if unpack is not None:
            yield _coded_layer(position, node, function, unpack, model)


def _coded_layer(
    position: int,
    node: onnx.NodeProto,
    function: onnx.FunctionProto,
    unpack: onnx.NodeProto,
    model: StoredModel,
) -> StoredLayer:
    actual = dict(zip(function.input, node.input, strict=False))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = _coded_kind(node.op_type)
    stored = frozenset(actual.get(name, "") for name in unpack.input)
    if "weight_shape" not in attributes or not stored <= set(model.constants):
        raise ModelFileError("layer without its packed weight", where=node.name, got=node.op_type)
    outputs, _, inputs = attributes["weight_shape"]
    return StoredLayer(
        position=position,
        name=node.name,
        op=kind.op,
        method=kind.method,
        shape=(outputs, inputs, *attributes.get("kernel_shape", ())),
        stored=stored,
        attribute_bytes=4 * sum(isinstance(value, float) for value in attributes.values()),
        bias=actual.get("bias", ""),
        activations=kind.activations,
        reason=_property(node, FLOAT_REASON),
    )


def _unpacked_layer(
    position: int, node: onnx.NodeProto, function: onnx.FunctionProto, model: StoredModel
) -> StoredLayer:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    rows = node.op_type.endswith(ROWS)
    packed = node.input[1:] if rows else node.input
    outputs = attributes.get("weight_shape", [0])[0]
    shape = [outputs, *attributes.get("row_shape", ())] if rows else attributes["tensor_shape"]
    if not set(packed) <= set(model.constants) or len(packed) != len(function.input) - rows:
        raise ModelFileError("layer without its packed weight", where=node.name, got=node.op_type)
    return StoredLayer(
        position=position,
        name=node.name,
        op="Gather" if rows else _reader(model.proto.graph, node.output[0]),
        method=known_method(node.op_type)[0],
        shape=tuple(shape),
        stored=frozenset(packed),
        attribute_bytes=4 * sum(isinstance(value, float) for value in attributes.values()),
        bias="",
        activations="float",
        reason="",
    )


def _inlined_weight(position: int, node: onnx.NodeProto, model: StoredModel) -> StoredLayer:
    """A weight that was unpacked by a function; its numbers in the node are constants now."""
    op_type, packed = _property(node, LAYER_KEY), _property(node, PACKED_KEY).split(" ")
    if not set(packed) <= set(model.constants):
        raise ModelFileError("layer without its packed weight", where=node.name, got=op_type)
    rows = op_type.endswith(ROWS)
    return StoredLayer(
        position=position,
        name=node.name,
        op="Gather" if rows else _reader(model.proto.graph, node.output[0]),
        method=known_method(op_type)[0],
        shape=tuple(int(size) for size in _property(node, SHAPE_KEY).split(" ")),
        stored=frozenset(packed),
        attribute_bytes=0,
        bias="",
        activations="float",
        reason="",
    )


def _reader(graph: onnx.GraphProto, name: str) -> str:
    """The operators that read the value ``name``, in bodies too."""
    found = dict.fromkeys(kind for _, kind in reading_operators(graph, name))
    return ", ".join(found)


def _coded_kind(op_type: str) -> _Kind:
    """Parse the type of a coded node: Method + Variant + Op + Form."""
    found = _CODED_TYPE.search(op_type)
    method, _ = known_method(op_type)
    if found is None:
        raise ModelFileError(
            "layer of a type that this version of subbyte does not know", got=op_type
        )
    return _Kind(found[1].removesuffix("Left"), method, _FORMS[found[2]])


def _property(node: onnx.NodeProto, key: str) -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == key), "")


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
    return maker is not None and (maker.domain == DOMAIN or bool(_property(maker, PACKED_KEY)))


def _standard_layer(
    position: int,
    node: onnx.NodeProto,
    weight: str,
    shape: tuple[int, ...],
    stored: frozenset[str],
    makers: Mapping[str, onnx.NodeProto],
) -> StoredLayer:
    coded_as = _property(node, LAYER_KEY)
    kind = _coded_kind(coded_as) if coded_as else _standard_kind(node, weight, stored, makers)
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
        reason=_property(node, FLOAT_REASON),
    )


def _standard_kind(
    node: onnx.NodeProto,
    weight: str,
    stored: frozenset[str],
    makers: Mapping[str, onnx.NodeProto],
) -> _Kind:
    data = next(name for name in node.input[:2] if name != weight)
    quantized = data in makers and makers[data].op_type == "DequantizeLinear"
    method = "float"
    if weight in makers and makers[weight].op_type != "Constant":
        maker = makers[weight]
        direct = maker.op_type == "DequantizeLinear" and stored == frozenset(maker.input)
        method = "int8" if direct else "packed"
    op = _OPS.get(node.op_type, node.op_type)
    return _Kind(op, method, "int8" if quantized else "float")


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
