"""Sharing the part that every method has in common: unpacking codes.

Methods give their unpacking as one list of standard nodes. Most of it is the same nodes
again and again, with other names; in a file they stand once, as the function
``subbyte.Unpack``.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

from subbyte.graph.functions.body import DOMAIN, make_function
from subbyte.methods import packing

NAME = "Unpack"
_INPUTS, _OUTPUT = ("packed", "shape"), "codes"


def unpack_function(opset: int) -> onnx.FunctionProto:
    """``Unpack``: packed uint8 [rows, bits] and a shape -> codes int32 in that shape."""
    return make_function(NAME, _INPUTS, [_OUTPUT], _template(), [], opset)


def outline(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """``nodes`` with every run that unpacks codes replaced by a call of ``Unpack``."""
    template = _template()
    result: list[onnx.NodeProto] = []
    place = 0
    while place < len(nodes):
        names = _match(template, nodes[place : place + len(template)])
        if names is None:
            result.append(nodes[place])
            place += 1
        else:
            inputs = [names[name] for name in _INPUTS]
            result.append(helper.make_node(NAME, inputs, [names[_OUTPUT]], domain=DOMAIN))
            place += len(template)
    return result


def _template() -> list[onnx.NodeProto]:
    return packing.unpack_nodes(*_INPUTS, _OUTPUT, "_")


def _match(
    template: Sequence[onnx.NodeProto], nodes: Sequence[onnx.NodeProto]
) -> dict[str, str] | None:
    """Names of ``nodes`` by the names in ``template``, if they are the same nodes otherwise."""
    if len(nodes) < len(template):
        return None
    names: dict[str, str] = {}
    for expected, node in zip(template, nodes, strict=True):
        values, actual = ([*n.input, *n.output] for n in (expected, node))
        if _kind(expected) != _kind(node) or len(values) != len(actual):
            return None
        for name, other in zip(values, actual, strict=True):
            if names.setdefault(name, other) != other:
                return None
    return names


def _kind(node: onnx.NodeProto) -> bytes:
    bare = onnx.NodeProto(op_type=node.op_type, domain=node.domain, attribute=node.attribute)
    return bare.SerializeToString(deterministic=True)
