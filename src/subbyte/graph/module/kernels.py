"""The kernel of a node: a row of the operator table, or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph import query
from subbyte.graph.module.foreign import ForeignKernel
from subbyte.graph.module.node_view import node_view
from subbyte.graph.module.opaque import Unit, is_opaque
from subbyte.graph.nested import captured, has_subgraphs, nested_nodes
from subbyte.graph.ops import OPERATORS, PREPARED, Kernel, build_kernel
from subbyte.graph.ops.element_types import TORCH_DTYPES
from subbyte.graph.ops.registry import Operator


@dataclass(frozen=True)
class NodeKernel:
    """A node as a function of tensors.

    ``run`` takes one tensor (or None) per value of ``inputs``: the node's inputs, then the values
    that its graphs read from outside. It gives a tensor, or one (or None) per value of ``outputs``.
    ``baked``: the places of constants that it holds already. ``row``: of the operator table; None
    where ONNX Runtime runs the node.
    """

    run: Kernel
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]
    baked: frozenset[int]
    row: Operator | None

    def results(self, arguments: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The outputs; ``arguments`` may include baked constants."""
        given = [None if place in self.baked else x for place, x in enumerate(arguments)]
        made = self.run(*given)
        return made if isinstance(made, (tuple, list)) else [made]


def unit_kernel(unit: Unit, imports: Mapping[str, int]) -> NodeKernel:
    """The kernel of the nodes of ``unit``; ``imports``: the operator sets of their model."""
    node = unit[0]
    row = OPERATORS.get((node.domain, node.op_type))
    if len(unit) == 1 and row is not None and _is_plain(node):
        form = node_view(node, imports[""])
        try:
            kernel = build_kernel(form)
        except UnsupportedOperatorError:
            if node.domain == PREPARED:
                raise
        else:
            outputs = tuple(node.outputs)
            return NodeKernel(kernel, tuple(node.inputs), outputs, frozenset(form.baked), row)
    return _foreign(unit, imports)


def _is_plain(node: ir.Node) -> bool:
    """Whether ``node`` has no graphs, and torch can hold its inputs and outputs."""
    values = [*(value for value in node.inputs if value is not None), *node.outputs]
    return not has_subgraphs(node) and not any(map(_is_uncovered, values))


def _is_uncovered(value: ir.Value) -> bool:
    tensor = value.const_value
    return is_opaque(value) or (tensor is not None and tensor.dtype not in TORCH_DTYPES)


def _foreign(unit: Unit, imports: Mapping[str, int]) -> NodeKernel:
    made = [value for node in unit for value in node.outputs]
    read = [
        value for node in unit for value in (*node.inputs, *captured(node)) if value is not None
    ]
    inputs = tuple(dict.fromkeys(value for value in read if value not in made))
    inside = {each for node in unit for each in (node, *nested_nodes(node))}
    outputs = tuple(value for value in made if _is_needed(value, inside))
    constants = {place: _built_in(value) for place, value in enumerate(inputs)}
    held = {place: array for place, array in constants.items() if array is not None}
    label = node_view(unit[0], imports.get(unit[0].domain, imports[""]), {}).label()
    kernel = ForeignKernel(
        nodes=[serialized(node) for node in unit],
        inputs=[str(value.name) for value in inputs],
        outputs=[str(value.name) for value in outputs],
        imports=_imports(unit, imports),
        constants={str(inputs[place].name): array for place, array in held.items()},
        label=label if len(unit) == 1 else f"{label} to {unit[-1].op_type} (node {unit[-1].name})",
    )
    return NodeKernel(kernel, inputs, outputs, frozenset(held), None)


def _is_needed(value: ir.Value, inside: Collection[ir.Node]) -> bool:
    """Whether nodes beyond those ``inside``, or who runs the network, may read ``value``."""
    if not value.name or is_opaque(value):
        return False
    return value.is_graph_output() or any(reader not in inside for reader in value.consumers())


def serialized(node: ir.Node) -> onnx.NodeProto:
    """``node`` as stored in a file."""
    return ir.serde.serialize_node(node)


def _imports(nodes: Sequence[ir.Node], imports: Mapping[str, int]) -> dict[str, int]:
    used = {each.domain for node in nodes for each in (node, *nested_nodes(node))} | {""}
    return {domain: version for domain, version in imports.items() if domain in used}


def _built_in(value: ir.Value | None) -> NDArray[Any] | None:
    """The constants that no training and no coding changes: numbers alone, and integers."""
    array = query.constant(value)
    if array is None or (array.dtype.kind == "f" and array.size > 1):
        return None
    return array
