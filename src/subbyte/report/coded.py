"""The coded weights of a file, unpacked from its nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from subbyte.methods import METHODS
from subbyte.methods.binary.form import VARIANTS
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.report.operations import coded_nodes
from subbyte.report.stored import StoredModel

Settings = dict[str, int | bool | str]


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
            found[node.name] = _weight(node, attributes, arrays)
    return found


def settings(weight: CodedWeight) -> Settings:
    """The options that the packed form shows, by the names that plans use."""
    find = _SETTINGS.get(weight.method)
    return {} if find is None else find(weight)


def _layers(model: StoredModel, where: Path) -> Iterator[CodedLayer]:
    functions = {function.name: function for function in model.proto.functions}
    for node, attributes in coded_nodes(model.proto):
        function = functions[node.op_type]
        unpack = next(inner for inner in function.node if inner.domain == DOMAIN)
        actual = dict(zip(function.input, node.input, strict=False))
        arrays = _arrays(model, where, node, actual, [*unpack.input, "bias"])
        bias = arrays.pop("bias")
        weight = _weight(node, attributes, arrays)
        yield CodedLayer(node.name, weight, bias.astype(np.float32), actual, node.output[0])


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


def _weight(
    node: onnx.NodeProto, attributes: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> CodedWeight:
    outputs, taps, inputs = attributes["weight_shape"]
    shape = WeightShape(outputs, taps, inputs, int(attributes.get("group", 1)))
    method = next(name for name in METHODS if node.op_type.startswith(name.title()))
    rest = node.op_type.removeprefix(method.title())
    variant = max((v for v in METHODS[method].variants if rest.startswith(v)), key=len)
    return CodedWeight(method, variant, shape, arrays, dict(attributes))


def _product(weight: CodedWeight) -> Settings:
    books, words, group = weight.inputs["codebook"].shape
    several = weight.shape.groups * -(-weight.shape.inputs // group) > 1
    gains = weight.inputs["gains"].size if weight.variant else 1
    found: Settings = {"group": group, "words": words, "gain": int(math.log2(gains))}
    return found | ({"shared": True} if several and books == 1 else {})


def _scalar(weight: CodedWeight) -> Settings:
    return {"bits": weight.inputs["codes"].shape[1]}


def _ternary(weight: CodedWeight) -> Settings:
    return {"rank": weight.inputs["d"].shape[1]}


def _composite(weight: CodedWeight) -> Settings:
    levels = np.abs(METHODS["composite"].decode(weight).astype(np.int32))
    return {"planes": int(levels.max(initial=0)).bit_length()}


def _binary(weight: CodedWeight) -> Settings:
    found = VARIANTS[weight.variant]
    return {"order": found.order, "scales": found.scales}


_SETTINGS: Mapping[str, Callable[[CodedWeight], Settings]] = {
    "product": _product,
    "scalar": _scalar,
    "ternary": _ternary,
    "composite": _composite,
    "binary": _binary,
}
