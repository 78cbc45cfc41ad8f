"""The layers of a file that have nodes of ours: of domain ``subbyte``, or inlined."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

from subbyte.errors import ModelFileError
from subbyte.graph.compressed.inline import LAYER_KEY, PACKED_KEY, SHAPE_KEY
from subbyte.graph.compressed.packed_weights import known_method, unpacking_call
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import ROWS, gives_weight
from subbyte.graph.write.layers import FLOAT_REASON
from subbyte.report.stored import StoredModel, reading_operators

_CODED_TYPE = re.compile(
    r"(ConvTranspose|Conv|LinearLeft|Linear)(?:Same|Sized)?(Float|Dequant|Add|)(?:Unary\d+)?$"
)
_FORMS = {"Float": "float", "Dequant": "int8 in, float out", "Add": "int8", "": "int8"}


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
class Kind:
    """The facts of a layer that the type of its coded node has."""

    op: str
    method: str
    activations: str


def coded_layers(model: StoredModel) -> Iterator[StoredLayer]:
    """The layers whose nodes, or whose weights' nodes, are ours."""
    functions = {function.name: function for function in model.proto.functions}
    for position, node in enumerate(model.proto.graph.node):
        if property_of(node, PACKED_KEY):
            yield _inlined_weight(position, node, model)
        if node.domain != DOMAIN or node.op_type not in functions:
            continue
        function = functions[node.op_type]
        if gives_weight(node.op_type):
            yield _unpacked_layer(position, node, function, model)
            continue
        unpack = unpacking_call(function, functions)
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
    kind = coded_kind(node.op_type)
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
        reason=property_of(node, FLOAT_REASON),
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
    op_type, packed = property_of(node, LAYER_KEY), property_of(node, PACKED_KEY).split(" ")
    if not set(packed) <= set(model.constants):
        raise ModelFileError("layer without its packed weight", where=node.name, got=op_type)
    rows = op_type.endswith(ROWS)
    return StoredLayer(
        position=position,
        name=node.name,
        op="Gather" if rows else _reader(model.proto.graph, node.output[0]),
        method=known_method(op_type)[0],
        shape=tuple(int(size) for size in property_of(node, SHAPE_KEY).split(" ")),
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


def coded_kind(op_type: str) -> Kind:
    """Parse the type of a coded node: Method + Variant + Op + Form, and a function's number."""
    found = _CODED_TYPE.search(op_type)
    method, _ = known_method(op_type)
    if found is None:
        raise ModelFileError(
            "layer of a type that this version of subbyte does not know", got=op_type
        )
    return Kind(found[1].removesuffix("Left"), method, _FORMS[found[2]])


def property_of(node: onnx.NodeProto, key: str) -> str:
    """A node's metadata under ``key``; empty where there is none."""
    return next((entry.value for entry in node.metadata_props if entry.key == key), "")
