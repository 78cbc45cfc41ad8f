"""The coded weights of a compressed file, read out of its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from subbyte.errors import ModelFileError
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import ROWS, gives_weight
from subbyte.methods import CodedWeight, WeightShape, method_of

_SHAPE = "weight_shape"
_WEIGHT = "Weight"
"""The end of the name of a function that unpacks a weight."""


@dataclass(frozen=True)
class CodedNode:
    """A node that reads a coded weight.

    ``inputs``: the stored name of every input, by the name that the node's function has for it.
    ``arrays``: the names, among these, of the weight's packed arrays. ``attributes``: of the
    weight alone.
    """

    proto: onnx.NodeProto
    method: str
    variant: str
    shape: WeightShape
    inputs: Mapping[str, str]
    arrays: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The node's name."""
        return self.proto.name

    @property
    def gives_weight(self) -> bool:
        """Whether it unpacks the weight for other nodes, rather than compute with it."""
        return gives_weight(self.proto.op_type)

    @property
    def stored(self) -> tuple[str, ...]:
        """The stored names of the packed arrays."""
        return tuple(self.inputs[name] for name in self.arrays)


def known_method(op_type: str) -> tuple[str, str]:
    """Method and variant of a coded node's type.

    Raises:
        ModelFileError: this version has no such method.
    """
    found = method_of(op_type)
    if found is None:
        raise ModelFileError(
            "layer of a type that this version of subbyte does not know", got=op_type
        )
    return found


def unpacking_call(
    function: onnx.FunctionProto, functions: Mapping[str, onnx.FunctionProto]
) -> onnx.NodeProto | None:
    """The call that unpacks the weight for ``function``; None in a function without a weight.

    Its inputs have the names that ``function`` has for them. With a function of one value behind
    it, a layer calls the function of the layer alone, whose inputs have the same names.
    """
    call = _first_call(function)
    if call is None or call.op_type.endswith(_WEIGHT) or call.op_type not in functions:
        return call
    return _first_call(functions[call.op_type])


def _first_call(function: onnx.FunctionProto) -> onnx.NodeProto | None:
    return next((inner for inner in function.node if inner.domain == DOMAIN), None)


class PackedWeights:
    """The coded nodes of a file, and their weights."""

    def __init__(self, proto: onnx.ModelProto, folder: str = "") -> None:
        """``folder``: where external data of the file lies."""
        self._proto, self._folder = proto, folder
        self._functions = {each.name: each for each in proto.functions if each.domain == DOMAIN}
        self._tensors = {tensor.name: tensor for tensor in proto.graph.initializer}

    def nodes(self) -> Iterator[CodedNode]:
        """The nodes of the graph that read a coded weight, in order; none in an inlined file.

        Raises:
            ModelFileError: a method that this version does not know.
        """
        for proto in self._proto.graph.node:
            node = self.node(proto)
            if node is not None:
                yield node

    def layers(self) -> Iterator[CodedNode]:
        """The nodes that compute with their weight."""
        return (node for node in self.nodes() if not node.gives_weight)

    def node(self, proto: onnx.NodeProto) -> CodedNode | None:
        """A node with its weight's packed form; None for one without a coded weight."""
        function = self._functions.get(proto.op_type) if proto.domain == DOMAIN else None
        values = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        if function is None or _SHAPE not in values:
            return None
        method, variant = known_method(proto.op_type)
        outputs, taps, channels = values[_SHAPE]
        attributes, arrays = self._unpacking(function)
        return CodedNode(
            proto,
            method,
            variant,
            WeightShape(outputs, taps, channels, int(values.get("group", 1))),
            dict(zip(function.input, proto.input, strict=False)),
            arrays,
            {name: values[name] for name in attributes if name in values},
        )

    def _unpacking(self, function: onnx.FunctionProto) -> tuple[list[str], tuple[str, ...]]:
        """The attributes and inputs of the function that unpacks the weight for ``function``."""
        if function.name.endswith(ROWS):
            # It gathers packed rows before it unpacks them, by nodes of its own.
            whole = self._functions[function.name.removesuffix(ROWS) + _WEIGHT]
            return list(whole.attribute), tuple(function.input)[1:]
        call = unpacking_call(function, self._functions)
        assert call is not None  # noqa: S101 - a function of a coded node
        return list(self._functions[call.op_type].attribute), tuple(call.input)

    def weight(self, node: CodedNode) -> CodedWeight:
        """The coded weight of a node.

        Raises:
            ModelFileError: an array that is not stored in the file.
        """
        arrays = {name: self.array(node, name) for name in node.arrays}
        return CodedWeight(node.method, node.variant, node.shape, arrays, dict(node.attributes))

    def array(self, node: CodedNode, name: str) -> NDArray[Any]:
        """The stored array of a node's input, by the name that its function has for it.

        Raises:
            ModelFileError: it is not stored in the file.
        """
        stored = self._tensors.get(node.inputs.get(name, ""))
        if stored is None:
            raise ModelFileError("layer without its packed weight", where=node.name, got=name)
        return numpy_helper.to_array(stored, self._folder)
