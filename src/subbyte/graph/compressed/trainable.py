"""A compressed file as a network that can be trained, and the file with the trained numbers.

Functions are expanded, but for the functions that unpack a weight. An input of the graph stands in
their place, and in the place of every coded layer's bias. A value that is uint8 in the file is
computed as whole floats, rounded with straight-through gradients. So the network computes the same
as the file, its activations rounded as there, and can be differentiated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx_ir.passes import common as passes

from subbyte.errors import ModelFileError
from subbyte.graph.compressed.inline import LAYER_KEY, Expander
from subbyte.graph.compressed.packed_weights import CodedNode, PackedWeights
from subbyte.graph.functions.body import DOMAIN, FORMAT_KEY, FORMAT_VERSION
from subbyte.graph.functions.unpacked import ROWS
from subbyte.graph.load.checker import check_model
from subbyte.graph.network import Network
from subbyte.graph.ops.registry import PREPARED
from subbyte.graph.passes.fold_constants import fold_constants
from subbyte.graph.protos import reads
from subbyte.methods import METHODS, CodedWeight


@dataclass(frozen=True)
class StoredWeight:
    """A coded weight, the names of its packed arrays, and the graph input [O, T, I] that
    stands for it. ``nodes``: places of the nodes that share it."""

    coded: CodedWeight
    arrays: tuple[str, ...]
    value: str
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class StoredBias:
    """The bias [O] of the node at place ``node``, at ``position`` of its inputs; ``value``:
    the graph input that stands for it."""

    bias: NDArray[np.float32]
    value: str
    node: int
    position: int


@dataclass(frozen=True)
class CodedNetwork:
    """A compressed file as a network.

    ``network``: its inputs are the inputs of ``model``, then one for every weight, then one for
    every bias.
    """

    model: onnx.ModelProto
    network: Network
    inputs: tuple[str, ...]
    weights: tuple[StoredWeight, ...]
    biases: tuple[StoredBias, ...]


def read_coded(model: onnx.ModelProto, where: str) -> CodedNetwork:
    """The coded network in ``model``, which `subbyte.compress` wrote.

    Raises:
        ModelFileError: no coded layers, an inlined file, another version of the format.
        UnsupportedOperatorError: an operator that the graph reader does not cover.
    """
    _check(model, where)
    reader = _Reader(model, where)
    for place, node in enumerate(model.graph.node):
        reader.add(place, node)
    return reader.result()


def write_coded(
    source: CodedNetwork, weights: Sequence[CodedWeight], biases: Sequence[NDArray[np.float32]]
) -> onnx.ModelProto:
    """``source.model`` with other weights and biases in the order of its own.

    They are of the same methods, variants and shapes.
    """
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for place, coded in zip(source.weights, weights, strict=True):
        for name, array in zip(place.arrays, coded.inputs.values(), strict=True):
            stored[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
        for number in place.nodes:
            _set_attributes(model.graph.node[number], coded.attributes)
    readers = Counter(name for node in model.graph.node for name in reads(node))
    for bias, array in zip(source.biases, biases, strict=True):
        name = model.graph.node[bias.node].input[bias.position]
        if readers[name] > 1:
            # Equal constants are stored once: the bias gets a tensor of its own.
            name = bias.value
            model.graph.initializer.append(onnx.TensorProto())
            stored[name] = model.graph.initializer[-1]
            model.graph.node[bias.node].input[bias.position] = name
        stored[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    used = {name for node in model.graph.node for name in reads(node)}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    check_model(model, full=True)
    return model


def _check(model: onnx.ModelProto, where: str) -> None:
    version = next((e.value for e in model.metadata_props if e.key == FORMAT_KEY), None)
    if version not in (None, FORMAT_VERSION):
        raise ModelFileError(
            "file of another format", where=where, expected=FORMAT_VERSION, got=version
        )
    if any(entry.key == LAYER_KEY for node in model.graph.node for entry in node.metadata_props):
        raise ModelFileError(
            "an inlined file cannot be trained", where=where, expected="the file before inlining"
        )
    if not any(node.domain == DOMAIN for node in model.graph.node):
        raise ModelFileError("nothing coded to train", where=where, expected="subbyte layers")


class _Reader:
    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self._model, self._where = model, where
        weights = {
            f"{name.title()}{variant}Weight"
            for name, method in METHODS.items()
            for variant in method.variants
        }
        self._packed = PackedWeights(model)
        self._expander = Expander(model, weights)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[tuple[str, ...], StoredWeight] = {}
        self._ones: dict[tuple[str, ...], str] = {}
        self._biases: list[StoredBias] = []

    def add(self, place: int, node: onnx.NodeProto) -> None:
        """Take in the node at ``place``."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        coded = self._packed.node(node)
        if coded is not None and node.op_type.endswith(ROWS):
            self._add_rows(place, coded)
            return
        if coded is not None and "bias" in coded.inputs:
            self._replace_bias(place, coded, copy)
        for inner in self._expander.expand(copy):
            if coded is not None and inner.domain == DOMAIN:
                self._replace_weight(place, coded, inner)
            else:
                if inner.op_type == "QuantizeLinear":
                    inner.op_type, inner.domain = "Quantize", PREPARED
                self._nodes.append(inner)

    def _replace_bias(self, place: int, node: CodedNode, copy: onnx.NodeProto) -> None:
        bias = self._packed.array(node, "bias").astype(np.float32)
        position = list(node.inputs).index("bias")
        copy.input[position] = self._expander.fresh()
        self._biases.append(StoredBias(bias, copy.input[position], place, position))

    def _replace_weight(self, place: int, node: CodedNode, call: onnx.NodeProto) -> None:
        """Name the outputs of the call of an unpacking function after a weight that is given."""
        held = self._held(place, node)
        for source, output in zip((held.value, self._ones[node.stored]), call.output, strict=True):
            self._nodes.append(helper.make_node("Identity", [source], [output]))

    def _held(self, place: int, node: CodedNode) -> StoredWeight:
        """The weight of ``node``, which the node at ``place`` reads from now on too."""
        arrays = node.stored
        if arrays not in self._weights:
            coded = self._packed.weight(node)
            value, ones = self._expander.fresh(), self._expander.fresh()
            self._weights[arrays] = StoredWeight(coded, arrays, value, ())
            self._ones[arrays] = ones
            self._tensors[ones] = numpy_helper.from_array(
                np.ones(coded.shape.outputs, np.float32), ones
            )
        held = self._weights[arrays]
        found = StoredWeight(held.coded, arrays, held.value, (*held.nodes, place))
        self._weights[arrays] = found
        return found

    def _add_rows(self, place: int, node: CodedNode) -> None:
        """A node that takes rows of a coded weight: of the input that stands for all of it."""
        held = self._held(place, node)
        tail = next(list(a.ints) for a in node.proto.attribute if a.name == "row_shape")
        shape, table = self._expander.fresh(), self._expander.fresh()
        sizes = np.array([held.coded.shape.outputs, *tail], np.int64)
        self._tensors[shape] = numpy_helper.from_array(sizes, shape)
        self._nodes.append(helper.make_node("Reshape", [held.value, shape], [table]))
        indices, outputs = node.proto.input[0], node.proto.output
        self._nodes.append(helper.make_node("Gather", [table, indices], outputs, node.name))

    def result(self) -> CodedNetwork:
        """The nodes and values taken in, as a network."""
        graph, weights = self._model.graph, tuple(self._weights.values())
        own = [value for value in graph.input if value.name not in self._tensors]
        added = [
            _info(w.value, [w.coded.shape.outputs, w.coded.shape.taps, w.coded.shape.inputs])
            for w in weights
        ]
        added += [_info(bias.value, [len(bias.bias)]) for bias in self._biases]
        made = helper.make_graph(
            self._nodes, "coded", [*own, *added], graph.output, list(self._tensors.values())
        )
        imports = [entry for entry in self._model.opset_import if entry.domain != DOMAIN]
        imports.append(helper.make_opsetid(PREPARED, 1))
        proto = helper.make_model(made, opset_imports=imports, ir_version=self._model.ir_version)
        network = Network(_prepared(ir.from_proto(proto)), (), self._where)
        names = tuple(value.name for value in own)
        return CodedNetwork(self._model, network, names, weights, tuple(self._biases))


def _prepared(model: ir.Model) -> ir.Model:
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.TopologicalSortPass()(model)
    fold_constants(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)
    return model


def _info(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _set_attributes(node: onnx.NodeProto, values: Mapping[str, int | float | list[int]]) -> None:
    for attribute in node.attribute:
        if attribute.name in values:
            attribute.CopyFrom(helper.make_attribute(attribute.name, values[attribute.name]))
