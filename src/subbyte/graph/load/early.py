"""Nodes that ONNX Runtime runs in operator sets in which onnx does not have them.

- ``LayerNormalization`` before set 17, as ONNX Runtime's own optimizer writes it; other
  operators that came later alike. They stand aside, in a domain that the checker and the converter
  pass over, until the graph is lifted to a set that has them.
- ``GroupNormalization`` of sets 18 to 20, which onnx withdrew: scale and bias of a group each, so
  an ``InstanceNormalization`` of the groups.
- ``MeanVarianceNormalization`` without axes, of which onnx's own function makes nothing valid.
- ``Constant`` with a number or numbers as its attribute before set 12.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from subbyte.graph.nested import all_nodes
from subbyte.graph.protos import graphs

ASIDE = "subbyte.aside"
"""Domain of nodes that stand aside."""

_GROUPS_ARE_CHANNELS = 21
_NUMBERS_ARE_ALLOWED = 12
_NUMBERS = {"value_float": "float32", "value_floats": "float32"} | dict.fromkeys(
    ("value_int", "value_ints"), "int64"
)


def modernize(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """``model``, or a copy in which such forms of nodes are written as valid ones."""
    found = (node for graph in graphs(model.graph) for node in graph.node)
    if not any(_rewriting(node, opset) for node in found):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for graph in graphs(made.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            copied = onnx.NodeProto.FromString(node.SerializeToString())
            rewrite = _rewriting(copied, opset)
            nodes += rewrite(copied) if rewrite else [copied]
        del graph.node[:]
        graph.node.extend(nodes)
    return made


def _rewriting(
    node: onnx.NodeProto, opset: int
) -> Callable[[onnx.NodeProto], list[onnx.NodeProto]] | None:
    """The rewriting of a node; None leaves it as it is."""
    if node.domain:
        return None
    if node.op_type == "GroupNormalization" and opset < _GROUPS_ARE_CHANNELS:
        return _of_groups
    if node.op_type == "MeanVarianceNormalization" and not node.attribute:
        return _with_axes
    numbers = any(attribute.name in _NUMBERS for attribute in node.attribute)
    if node.op_type == "Constant" and opset < _NUMBERS_ARE_ALLOWED and numbers:
        return _tensor
    return None


def _of_groups(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """x [N, C, ...] as [N, groups, rest], normalized, and back."""
    x, scale, bias = node.input
    (y,) = node.output
    kept = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    groups = np.array([0, kept["num_groups"], -1], np.int64)
    epsilon = kept.get("epsilon", 1e-5)
    return [
        helper.make_node("Constant", [], [f"{y}.sizes"], value=numpy_helper.from_array(groups)),
        helper.make_node("Reshape", [x, f"{y}.sizes"], [f"{y}.groups"], f"{y}.groups"),
        helper.make_node(
            "InstanceNormalization",
            [f"{y}.groups", scale, bias],
            [f"{y}.rows"],
            node.name,
            epsilon=epsilon,
        ),
        helper.make_node("Shape", [x], [f"{y}.shape"], f"{y}.shape"),
        helper.make_node("Reshape", [f"{y}.rows", f"{y}.shape"], [y], f"{y}.shaped"),
    ]


def _with_axes(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    node.attribute.append(helper.make_attribute("axes", [0, 2, 3]))
    return [node]


def _tensor(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    (attribute,) = node.attribute
    array = np.array(helper.get_attribute_value(attribute), _NUMBERS[attribute.name])
    tensor = numpy_helper.from_array(array)
    return [helper.make_node("Constant", [], list(node.output), node.name, value=tensor)]


def set_aside(model: onnx.ModelProto, opset: int, target: int) -> onnx.ModelProto:
    """``model``, or a copy in which nodes that came after set ``opset``, and not after
    ``target``, are in `ASIDE`."""
    early = {
        node.op_type
        for graph in graphs(model.graph)
        for node in graph.node
        if not node.domain and _comes_later(node.op_type, opset, target)
    }
    if not early:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for graph in graphs(made.graph):
        for node in graph.node:
            if not node.domain and node.op_type in early:
                node.domain = ASIDE
    made.opset_import.append(helper.make_opsetid(ASIDE, 1))
    return made


def _comes_later(op_type: str, opset: int, target: int) -> bool:
    return onnx.defs.has(op_type, target) and not onnx.defs.has(op_type, opset)


def put_back(model: ir.Model) -> None:
    """The nodes of `ASIDE` are standard ones again."""
    for node in all_nodes(model.graph):
        if node.domain == ASIDE:
            node.domain = ""
    model.opset_imports.pop(ASIDE, None)
