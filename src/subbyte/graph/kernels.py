"""The kernel of a node: a row of the operator table, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph.nested import captured, nested_nodes
from subbyte.graph.ops import OPERATORS, PREPARED, Kernel, build_kernel
from subbyte.graph.ops.foreign import ForeignKernel
from subbyte.graph.ops.node import constant_array, node_form
from subbyte.graph.ops.registry import Operator
from subbyte.graph.prepare_control import has_subgraphs


@dataclass(frozen=True)
class NodeKernel:
    """``run`` takes one tensor (or None) per value of ``inputs``: those of the node, then what
    its graphs read from outside. ``baked``: the places of constants that it holds already.
    ``row``: of the operator table; None where ONNX Runtime runs the node.
    """

    run: Kernel
    inputs: tuple[ir.Value | None, ...]
    baked: frozenset[int]
    row: Operator | None


def node_kernel(node: ir.Node, imports: Mapping[str, int]) -> NodeKernel:
    """The kernel of ``node``; ``imports``: the operator sets of its model."""
    inputs = tuple(node.inputs)
    row = OPERATORS.get((node.domain, node.op_type))
    if row is not None and not has_subgraphs(node):
        form = node_form(node, imports[""])
        try:
            return NodeKernel(build_kernel(form), inputs, frozenset(form.baked), row)
        except UnsupportedOperatorError:
            if node.domain == PREPARED:
                raise
    return _foreign(node, imports)


def is_foreign(node: ir.Node, imports: Mapping[str, int]) -> bool:
    """Whether ONNX Runtime runs ``node`` in the module."""
    return node_kernel(node, imports).row is None


def evaluate(
    node: ir.Node, imports: Mapping[str, int], tensors: Sequence[Tensor | None]
) -> list[Tensor]:
    """The outputs of ``node`` for ``tensors``, one per value of `NodeKernel.inputs`."""
    kernel = node_kernel(node, imports)
    arguments = [None if place in kernel.baked else tensor for place, tensor in enumerate(tensors)]
    with torch.no_grad():
        result = kernel.run(*arguments)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def _foreign(node: ir.Node, imports: Mapping[str, int]) -> NodeKernel:
    inputs = (*node.inputs, *captured(node))
    constants = {place: _built_in(value) for place, value in enumerate(inputs)}
    held = {place: array for place, array in constants.items() if array is not None}
    label = node_form(node, imports.get(node.domain, imports[""]), {}).label()
    kernel = ForeignKernel(
        nodes=[serialized(node)],
        inputs=[None if value is None else value.name for value in inputs],
        outputs=[value.name or "" for value in node.outputs],
        imports=_imports([node], imports),
        constants={str(inputs[place].name): array for place, array in held.items()},  # type: ignore[union-attr]
        label=label,
    )
    return NodeKernel(kernel, inputs, frozenset(held), None)


def serialized(node: ir.Node) -> onnx.NodeProto:
    """``node`` as stored in a file."""
    return ir.serde.serialize_node(node)


def _imports(nodes: Sequence[ir.Node], imports: Mapping[str, int]) -> dict[str, int]:
    used = {each.domain for node in nodes for each in (node, *nested_nodes(node))} | {""}
    return {domain: version for domain, version in imports.items() if domain in used}


def _built_in(value: ir.Value | None) -> NDArray[Any] | None:
    """The constants that no training and no coding changes: numbers alone, and integers."""
    array = constant_array(value)
    if array is None or (array.dtype.kind == "f" and array.size > 1):
        return None
    return array
