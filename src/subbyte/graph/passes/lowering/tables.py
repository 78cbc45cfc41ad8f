"""Tables become floats whose rows, along the first axis, a Gather takes: such tables are coded.

Rows of integers that are made floats behind the Gather (Cast, Sub and Mul, or DequantizeLinear,
with constants for all rows or with rows of their own) are rows of a table of floats. A Gather along
another axis takes rows of the table turned; a GatherND of single indices is a Gather.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.nested import nested_graphs
from subbyte.graph.passes.dequantize import dequantized
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.control_flow import HOISTED

Array = NDArray[Any]

_NARROW = 2
"""Bytes of integers that are codes in any case; wider ones are codes if they are scaled."""


@dataclass(frozen=True)
class _Rows:
    """``table`` at ``indices`` along ``axis``.

    ``gather`` takes these rows of the stored ``source``, and the operators ``steps`` compute with
    them.
    """

    table: Array
    indices: ir.Value
    axis: int
    source: Array
    gather: ir.Node
    steps: tuple[str, ...] = ()

    @property
    def are_codes(self) -> bool:
        """Whether stored integers have become floats that can be coded."""
        kind = self.source.dtype
        scaled = {"Mul", "Div", "DequantizeLinear"} & set(self.steps)
        integer = kind != np.bool_ and not np.issubdtype(kind, np.floating)
        return (
            integer
            and self.table.dtype == np.float32
            and self.table.ndim > 1
            and (self.axis == 0 or query.rank(self.indices) is not None)
            and self.source.size >= HOISTED
            and bool(kind.itemsize <= _NARROW or scaled)
        )

    def beside(self, other: Array) -> bool:
        """Whether a constant goes along the axes behind the one of the rows, for indices of any
        rank."""
        return other.ndim <= self.table.ndim - 1 - self.axis or (
            other.size == 1 and other.ndim < self.table.ndim
        )

    def same_rows(self, other: _Rows) -> bool:
        """Whether ``other`` holds the same rows of a table of as many axes."""
        return (
            self.indices is other.indices
            and self.axis == other.axis
            and self.table.ndim == other.table.ndim
        )


def lower_tables(model: ir.Model) -> None:
    """Rewrite the readers of tables in ``model`` and in the bodies of its nodes, in place."""
    editor = Editor(model.graph)
    for graph in (model.graph, *list(nested_graphs(model.graph))):
        _float_tables(editor, graph)
        for node in list(graph):
            if (node.domain, node.op_type) == ("", "GatherND"):
                _gather_of_single(editor, graph, node)
            if (node.domain, node.op_type) == ("", "Gather"):
                _along_first_axis(editor, graph, node)
    editor.finish()


def _float_tables(editor: Editor, graph: ir.Graph) -> None:
    known: dict[ir.Value, _Rows] = {}
    for node in graph:
        found = _rows_of(node, known)
        if found is not None:
            known[node.outputs[0]] = found
    for node in reversed(list(graph)):
        value = node.outputs[0] if node.outputs else None
        if value is None or value not in known or not known[value].are_codes:
            continue
        if not (value.uses() or value.is_graph_output()):
            continue
        if all(use.node.outputs[0] in known for use in value.uses()) and value.uses():
            continue
        _read_floats(editor, graph, node, known[value])


def _read_floats(editor: Editor, graph: ir.Graph, node: ir.Node, rows: _Rows) -> None:
    """A Gather of floats in the place of the last node of a chain, with the name of the first."""
    table = editor.constant(f"{rows.gather.name}.table", rows.table)
    _replace(
        editor, graph, node, "Gather", [table, rows.indices], {"axis": rows.axis}, rows.gather.name
    )


def _rows_of(node: ir.Node, known: dict[ir.Value, _Rows]) -> _Rows | None:
    if node.domain != "" or len(node.outputs) != 1 or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Gather":
        return _gathered(node)
    find = _STEPS.get(node.op_type)
    operands = [_operand(value, known) for value in node.inputs]
    if find is None or any(operand is None for operand in operands):
        return None
    return find(node, operands)


def _gathered(node: ir.Node) -> _Rows | None:
    table, indices = query.constant(node.inputs[0]), node.inputs[1]
    axis = node.attributes.get_int("axis", 0)
    if table is None or indices is None or not -table.ndim <= axis < table.ndim:
        return None
    return _Rows(table, indices, axis % table.ndim, table, node)


_Operand = _Rows | NDArray[Any] | None


def _operand(value: ir.Value | None, known: dict[ir.Value, _Rows]) -> _Operand:
    return None if value is None else known.get(value, query.constant(value))


def _cast(node: ir.Node, operands: list[_Operand]) -> _Rows | None:
    """Take a Cast to float32 alone: other types of rows are no weights."""
    rows = operands[0]
    if not isinstance(rows, _Rows) or node.attributes.get_int("to", 0) != ir.DataType.FLOAT:
        return None
    return _made(node, rows, rows.table.astype(np.float32))


def _binary(compute: Callable[[Array, Array], Array]) -> Callable[..., _Rows | None]:
    def find(node: ir.Node, operands: list[_Operand]) -> _Rows | None:
        rows = [operand for operand in operands if isinstance(operand, _Rows)]
        if not rows:
            return None
        # The table counts, not the scales of its rows.
        leading, arrays = max(rows, key=lambda each: each.source.size), []
        for operand in operands:
            if isinstance(operand, _Rows):
                if not operand.same_rows(leading):
                    return None
                arrays.append(operand.table)
            elif operand is None or not leading.beside(operand):
                return None
            else:
                arrays.append(operand)
        if np.issubdtype(arrays[0].dtype, np.integer) and node.op_type == "Div":
            return None
        made = _broadcast(compute, *arrays)
        return (
            None
            if made is None or made.shape != leading.table.shape
            else _made(node, leading, made)
        )

    return find


def _broadcast(compute: Callable[[Array, Array], Array], a: Array, b: Array) -> Array | None:
    try:
        return compute(a, b)
    except (TypeError, ValueError):  # shapes or types that the runtime would refuse as well
        return None


def _dequantize(node: ir.Node, operands: list[_Operand]) -> _Rows | None:
    """One scale for all, or scales along an axis behind the axis of the rows."""
    rows, parameters = operands[0], operands[1:]
    arrays = [p for p in parameters if isinstance(p, np.ndarray)]
    if not isinstance(rows, _Rows) or len(arrays) < len(parameters):
        return None
    axis = node.attributes.get_int("axis", 1)
    single = all(array.size == 1 for array in arrays)
    last = axis < 0 and -axis < rows.table.ndim - rows.axis
    if node.attributes.get_int("block_size", 0) != 0 or not (single or last):
        return None
    made = dequantized(node, rows.table, arrays)
    return None if made is None else _made(node, rows, made)


def _unsqueeze(node: ir.Node, operands: list[_Operand]) -> _Rows | None:
    """A new last axis, as scales of rows get."""
    rows, axes = operands
    if not isinstance(rows, _Rows) or not isinstance(axes, np.ndarray) or axes.tolist() != [-1]:
        return None
    return _made(node, rows, rows.table[..., None])


def _made(node: ir.Node, rows: _Rows, table: Array) -> _Rows:
    return replace(rows, table=table, steps=(*rows.steps, node.op_type))


_STEPS: dict[str, Callable[[ir.Node, list[_Operand]], _Rows | None]] = {
    "Cast": _cast,
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(np.divide),
    "DequantizeLinear": _dequantize,
    "Unsqueeze": _unsqueeze,
}


def _gather_of_single(editor: Editor, graph: ir.Graph, node: ir.Node) -> None:
    """GatherND of indices [..., 1] into a table -> Gather of indices [...]."""
    table, indices = query.float_constant(node.inputs[0]), node.inputs[1]
    sizes = query.static_sizes(indices)
    if table is None or indices is None or table.ndim < 2 or table.size < HOISTED:
        return
    if not sizes or sizes[-1] != 1 or node.attributes.get_int("batch_dims", 0) != 0:
        return
    axes = editor.constant(f"{node.name}.last", np.array([-1], np.int64))
    squeezed = _insert(editor, graph, node, "Squeeze", [indices, axes], {})
    squeezed.shape = ir.Shape(list(indices.shape or [])[:-1])
    _replace(editor, graph, node, "Gather", [node.inputs[0], squeezed], {"axis": 0}, node.name)


def _along_first_axis(editor: Editor, graph: ir.Graph, node: ir.Node) -> None:
    """Gather along a later axis -> Gather of the turned table's rows, and a Transpose."""
    source, indices = node.inputs[0], node.inputs[1]
    table, rank = query.float_constant(source), query.rank(indices)
    if table is None or source is None or rank is None or table.size < HOISTED:
        return
    axis = node.attributes.get_int("axis", 0)
    if not -table.ndim <= axis < table.ndim or axis % table.ndim == 0:
        return
    axis %= table.ndim
    turned = editor.derive(source, f"rows_{axis}", np.moveaxis(table, axis, 0))
    rows = _insert(editor, graph, node, "Gather", [turned, indices], {"axis": 0}, str(node.name))
    before = [rank + place for place in range(axis)]
    perm = [*before, *range(rank), *range(rank + axis, rank + table.ndim - 1)]
    _replace(editor, graph, node, "Transpose", [rows], {"perm": perm}, f"{node.name}.turned")


def _insert(
    editor: Editor,
    graph: ir.Graph,
    before: ir.Node,
    kind: str,
    inputs: list[ir.Value | None],
    attributes: dict[str, Any],
    name: str = "",
) -> ir.Value:
    """The output of a new node."""
    made = ir.node(kind, inputs, attributes, name=name or f"{before.name}.{kind.lower()}")
    value = made.outputs[0]
    value.name, value.type = editor.unique(str(made.name)), before.outputs[0].type
    graph.insert_before(before, made)
    return value


def _replace(
    editor: Editor,
    graph: ir.Graph,
    node: ir.Node,
    kind: str,
    inputs: list[ir.Value | None],
    attributes: dict[str, Any],
    name: str | None,
) -> None:
    """Put one node in the place of another, with its output's name, type and shape."""
    old = node.outputs[0]
    new = _insert(editor, graph, node, kind, inputs, attributes, name or "")
    new.type, new.shape = old.type, old.shape
    said, old.name = old.name, editor.unique(f"{old.name}.whole")
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = said
    graph.remove(node, safe=True)
