"""The same file for runtimes that know no model-local functions.

Every call of a ``subbyte`` function is replaced by the function's nodes; the packed weights stay
packed. Values that depend on no packed array (shapes, masks, index tables) are computed now, so
that each layer keeps only the operators that unpack it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import gives_weight
from subbyte.graph.load.checker import check_model
from subbyte.graph.protos import RANDOM, reads, rename_reads, value_names
from subbyte.runtime.ort import open_session, ort

LAYER_KEY = "subbyte.layer"
# Of a node that gives another one its weight, or takes rows of it: the packed arrays, and the
# shape of the whole.
PACKED_KEY, SHAPE_KEY = "subbyte.packed", "subbyte.shape"

_COMPUTES = ("Conv", "ConvTranspose", "MatMul")


def inline(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its ``subbyte`` functions expanded into standard operators.

    The node that computes a layer keeps the layer's name, and its former type as metadata
    ``subbyte.layer``.
    """
    expander = Expander(model)
    nodes = [inner for node in model.graph.node for inner in expander.expand(node)]
    constants = _fold(model, nodes)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.functions[:], result.graph.node[:], result.opset_import[:]
    result.opset_import.extend(entry for entry in model.opset_import if entry.domain != DOMAIN)
    names = _share(constants, {tensor.name for tensor in model.graph.initializer})
    for name, array in constants.items():
        if names[name] == name:
            result.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    kept = _merge_equal(nodes, names, {tensor.name for tensor in model.graph.initializer})
    result.graph.node.extend(kept)
    _discard_unread(result.graph)
    check_model(result, full=True)
    return result


class Expander:
    """Expands calls of functions, functions within functions included, but not ``leaves``."""

    def __init__(self, model: onnx.ModelProto, leaves: Collection[str] = ()) -> None:
        self.functions = {
            f.name: f for f in model.functions if f.domain == DOMAIN and f.name not in leaves
        }
        self.used = value_names(model.graph)
        self.count = 0

    def expand(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that stand for ``node``: itself, if it calls no function."""
        if not self._is_call(node):
            return [node]
        inner = self._call(node)
        self._label(node, inner)
        return inner

    def _is_call(self, node: onnx.NodeProto) -> bool:
        return node.domain == DOMAIN and node.op_type in self.functions

    def _call(self, call: onnx.NodeProto) -> list[onnx.NodeProto]:
        function = self.functions[call.op_type]
        names = dict(zip(function.input, call.input, strict=False))
        names |= dict(zip(function.output, call.output, strict=False))
        names[""] = ""
        attributes = {attribute.name: attribute for attribute in call.attribute}
        nodes: list[onnx.NodeProto] = []
        for template in function.node:
            node = onnx.NodeProto()
            node.CopyFrom(template)
            for values in (node.input, node.output):
                for index, value in enumerate(values):
                    if value not in names:
                        names[value] = self.fresh()
                    values[index] = names[value]
            _resolve(node, attributes)
            nodes += self._call(node) if self._is_call(node) else [node]
        return nodes

    @staticmethod
    def _label(call: onnx.NodeProto, inner: Sequence[onnx.NodeProto]) -> None:
        if gives_weight(call.op_type):
            _label_weight(call, inner[-1])
            return
        # A weight that is a product itself is made before it is used.
        main = next((node for node in reversed(inner) if node.op_type in _COMPUTES), None)
        if main is not None:
            main.name = call.name
            main.metadata_props.add(key=LAYER_KEY, value=call.op_type)
            main.metadata_props.extend(call.metadata_props)

    def fresh(self) -> str:
        """A name that nothing else has."""
        while True:
            self.count += 1
            name = f"u{self.count}"
            if name not in self.used:
                return name


def _label_weight(call: onnx.NodeProto, last: onnx.NodeProto) -> None:
    """Note the unpacked weight on ``last``, the node that gives the call's output."""
    attributes = {attribute.name: list(attribute.ints) for attribute in call.attribute}
    rows = "row_shape" in attributes
    packed = call.input[1:] if rows else call.input
    shape = attributes.get("tensor_shape", [])
    if rows:
        shape = [attributes["weight_shape"][0], *attributes["row_shape"]]
    last.name = call.name
    last.metadata_props.add(key=LAYER_KEY, value=call.op_type)
    last.metadata_props.add(key=PACKED_KEY, value=" ".join(packed))
    last.metadata_props.add(key=SHAPE_KEY, value=" ".join(map(str, shape)))


def _resolve(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Replace references to the function's attributes by the call's values."""
    resolved = []
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            resolved.append(attribute)
        elif attribute.ref_attr_name in given:
            value = onnx.AttributeProto()
            value.CopyFrom(given[attribute.ref_attr_name])
            value.name = attribute.name
            resolved.append(value)
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in resolved]
    del node.attribute[:]
    node.attribute.extend(copies)


def _fold(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto]
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Take nodes that depend on no stored data out of ``nodes``; return the values others read."""
    stored = {tensor.name for tensor in model.graph.initializer}
    known: set[str] = {""}
    folded, rest = [], []
    for node in nodes:
        shape = node.op_type == "Shape" and node.input[0] in stored
        foldable = shape or all(name in known for name in reads(node))
        if foldable and not node.domain and node.op_type not in RANDOM:
            folded.append(node)
            known.update(node.output)
        else:
            rest.append(node)
    outputs = {value.name for value in model.graph.output}
    read = {name for node in rest for name in reads(node)} | outputs
    wanted = [name for name in dict.fromkeys(o for n in folded for o in n.output) if name in read]
    nodes[:] = rest
    if not wanted:
        return {}
    return dict(zip(wanted, _evaluate(model, folded, wanted), strict=True))


def _evaluate(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], wanted: Sequence[str]
) -> Sequence[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    used = {name for node in nodes for name in reads(node)}
    graph = helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [tensor for tensor in model.graph.initializer if tensor.name in used],
    )
    imports = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    part = helper.make_model(graph, opset_imports=imports, ir_version=model.ir_version)
    session = open_session(part.SerializeToString(), ort.SessionOptions())
    values: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = session.run(None, {})
    return values


def _discard_unread(graph: onnx.GraphProto) -> None:
    """Drop constants that only kernels of our own read: tables of functions of one value."""
    read = {name for node in graph.node for name in reads(node)}
    read.update(value.name for value in graph.output)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _share(
    constants: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], taken: set[str]
) -> dict[str, str]:
    """For each constant, the first of the same type, shape and content."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    return {
        name: first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
        for name, array in constants.items()
        if name not in taken
    }


def _merge_equal(
    nodes: Sequence[onnx.NodeProto], names: Mapping[str, str], stored: set[str]
) -> list[onnx.NodeProto]:
    """Rename inputs by ``names``; compute once the values that two layers make of one weight."""
    renamed = dict(names)
    constant = stored | set(names.values()) | {""}
    seen: dict[bytes, Sequence[str]] = {}
    kept = []
    for node in nodes:
        rename_reads(node, renamed)
        fixed = all(name in constant for name in reads(node))
        if node.domain or not fixed or node.op_type in RANDOM:
            kept.append(node)
            continue
        constant.update(node.output)
        bare = onnx.NodeProto(
            op_type=node.op_type, input=node.input, attribute=node.attribute
        ).SerializeToString(deterministic=True)
        if bare in seen:
            renamed |= dict(zip(node.output, seen[bare], strict=True))
        else:
            seen[bare] = list(node.output)
            kept.append(node)
    return kept
