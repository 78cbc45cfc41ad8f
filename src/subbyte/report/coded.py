"""The coded weights of a file, unpacked from its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from subbyte.errors import ModelFileError
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import ROWS, gives_weight
from subbyte.methods import METHODS, CodedWeight, WeightShape
from subbyte.methods.options import Value
from subbyte.report.layers import known_method
from subbyte.report.stored import StoredModel

Settings = Mapping[str, Value]


@dataclass(frozen=True)
class CodedLayer:
    """One coded node: its name, weight, bias float32 [O], and actual inputs by formal name."""

    name: str
    weight: CodedWeight
    bias: NDArray[np.float32]
    inputs: Mapping[str, str]
    output: str


def coded_layers(model: StoredModel, where: Path) -> dict[str, CodedLayer]:
    """The coded layers of a file by node name; none in an inlined or a float one.

    Raises:
        ModelFileError: a node whose packed arrays are not stored in the file.
    """
    return {layer.name: layer for layer in _layers(model, where)}


def unpacked_weights(model: StoredModel, where: Path) -> dict[str, CodedWeight]:
    """The coded weights of a file that are unpacked before other nodes read them (of tables, of
    recurrent nodes), by the name of the node that unpacks them.

    Raises:
        ModelFileError: as `coded_layers`.
    """
    functions = {function.name: function for function in model.proto.functions}
    found = {}
    for node in model.proto.graph.node:
        if node.domain == DOMAIN and node.op_type in functions and gives_weight(node.op_type):
            rows = node.op_type.endswith(ROWS)
            actual = dict(zip(functions[node.op_type].input, node.input, strict=False))
            names = list(actual)[1:] if rows else list(actual)
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            arrays = _arrays(model, where, node, actual, names)
            found[node.name] = _weight(_coded_node(node, attributes), arrays)
    return found


def settings(weight: CodedWeight) -> Settings:
    """The options that the packed form shows, by the names that plans use."""
    return METHODS[weight.method].options_of(weight)


@dataclass(frozen=True)
class CodedNode:
    """A node that computes with a coded weight: its method, variant and the weight's shape."""

    proto: onnx.NodeProto
    attributes: Mapping[str, Any]
    method: str
    variant: str
    shape: WeightShape

    @property
    def name(self) -> str:
        """The node's name."""
        return self.proto.name


def coded_nodes(proto: onnx.ModelProto) -> Iterator[CodedNode]:
    """The nodes of coded layers; nodes that give others weights are left out.

    Raises:
        ModelFileError: a method that this version does not know.
    """
    for node in proto.graph.node:
        if node.domain != DOMAIN or gives_weight(node.op_type):
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if "weight_shape" in attributes:
            yield _coded_node(node, attributes)


def _coded_node(node: onnx.NodeProto, attributes: Mapping[str, Any]) -> CodedNode:
    outputs, taps, inputs = attributes["weight_shape"]
    shape = WeightShape(outputs, taps, inputs, int(attributes.get("group", 1)))
    return CodedNode(node, attributes, *known_method(node.op_type), shape)


def packed_weight(model: StoredModel, where: Path, node: CodedNode) -> CodedWeight:
    """The packed weight of a coded layer's node.

    Raises:
        ModelFileError: its arrays are not stored in the file.
    """
    function = next(f for f in model.proto.functions if f.name == node.proto.op_type)
    unpack = next(inner for inner in function.node if inner.domain == DOMAIN)
    actual = dict(zip(function.input, node.proto.input, strict=False))
    return _weight(node, _arrays(model, where, node.proto, actual, unpack.input))


def stored_names(model: StoredModel, node: CodedNode) -> tuple[str, ...]:
    """The names of the arrays that a coded layer's weight is made of."""
    function = next(f for f in model.proto.functions if f.name == node.proto.op_type)
    unpack = next(inner for inner in function.node if inner.domain == DOMAIN)
    actual = dict(zip(function.input, node.proto.input, strict=False))
    return tuple(actual[name] for name in unpack.input)


def _layers(model: StoredModel, where: Path) -> Iterator[CodedLayer]:
    functions = {function.name: function for function in model.proto.functions}
    for node in coded_nodes(model.proto):
        function = functions[node.proto.op_type]
        unpack = next(inner for inner in function.node if inner.domain == DOMAIN)
        actual = dict(zip(function.input, node.proto.input, strict=False))
        arrays = _arrays(model, where, node.proto, actual, [*unpack.input, "bias"])
        bias = arrays.pop("bias").astype(np.float32)
        yield CodedLayer(node.name, _weight(node, arrays), bias, actual, node.proto.output[0])


def _arrays(
    model: StoredModel,
    where: Path,
    node: onnx.NodeProto,
    actual: Mapping[str, str],
    names: Sequence[str],
) -> dict[str, NDArray[Any]]:
    """The stored arrays of a node, by the names ``names`` that its function has for them."""
    tensors = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    missing = [name for name in names if actual.get(name) not in tensors]
    if missing:
        raise ModelFileError("layer without its packed weight", where=node.name, got=missing[0])
    return {name: numpy_helper.to_array(tensors[actual[name]], str(where.parent)) for name in names}


def _weight(node: CodedNode, arrays: Mapping[str, NDArray[Any]]) -> CodedWeight:
    return CodedWeight(node.method, node.variant, node.shape, arrays, dict(node.attributes))
