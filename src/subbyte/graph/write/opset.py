"""Which version of the standard operator set a file is written for.

Coded layers need set 18. Sets above 21 are lowered to 21 where every node means the same
there, so that older runtimes read the file.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.nested import nested_nodes

LEAST = 18
PREFERRED = 21


def output_opset(nodes: Iterable[ir.Node], opset: int) -> int:
    """``opset``, or 21 if it is above and every standard node is unchanged since."""
    if opset <= PREFERRED:
        return max(opset, LEAST)
    every = (each for node in nodes for each in (node, *nested_nodes(node)))
    standard = (node for node in every if query.is_standard(node))
    return PREFERRED if all(_unchanged(node, opset) for node in standard) else opset


def _unchanged(node: ir.Node, opset: int) -> bool:
    new = onnx.defs.get_schema(node.op_type, opset, "")
    try:
        old = onnx.defs.get_schema(node.op_type, PREFERRED, "")
    except onnx.defs.SchemaError:
        return False
    if new.since_version == old.since_version:
        return True
    return _same_signature(node, old, new) and _types_allowed(node, old)


def _same_signature(node: ir.Node, old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Same inputs and outputs as far as the node has them, same attributes and defaults."""
    if len(node.inputs) > old.max_input or len(node.outputs) > old.max_output:
        return False
    for before, after, count in (
        (old.inputs, new.inputs, len(node.inputs)),
        (old.outputs, new.outputs, len(node.outputs)),
    ):
        if [p.name for p in before[:count]] != [p.name for p in after[:count]]:
            return False
    if not set(node.attributes) <= set(old.attributes):
        return False
    unset = set(old.attributes) - set(node.attributes)
    return all(
        name in new.attributes
        and old.attributes[name].default_value == new.attributes[name].default_value
        for name in unset
    )


def _types_allowed(node: ir.Node, old: onnx.defs.OpSchema) -> bool:
    for value, parameter in zip(node.inputs, old.inputs, strict=False):
        if value is None or value.type is None:
            continue
        if str(value.type.denotation or "") and not parameter.types:
            continue
        name = f"tensor({onnx.TensorProto.DataType.Name(value.type.dtype).lower()})"
        if parameter.types and name not in parameter.types:
            return False
    return True
