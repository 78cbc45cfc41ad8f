"""Constant folding: constant sub-graphs, and sizes that are known despite a dynamic batch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph import query
from subbyte.graph.module.kernels import unit_kernel
from subbyte.graph.module.node_view import to_torch
from subbyte.graph.module.opaque import is_opaque
from subbyte.graph.nested import captured, discard, nested_graphs
from subbyte.graph.passes.dequantize import dequantized_constant
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.control_flow import HOISTED
from subbyte.graph.protos import RANDOM

REARRANGING = frozenset(
    {"Cast", "DequantizeLinear", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators whose result is the same weight in another form: it keeps the weight's name."""

LARGE = 1 << 24
"""Bytes above which a constant is not made out of smaller ones (an Expand, for example)."""


def fold_constants(model: ir.Model) -> None:
    """Evaluate every node whose inputs are all constants and put its results in its place.

    In subgraphs too: large constants there go to the main graph, as in `settle_subgraphs`.
    """
    editor = Editor(model.graph)
    for graph in (model.graph, *list(nested_graphs(model.graph))):
        for node in list(graph):
            results = _results(node, model.opset_imports)
            if results is not None:
                _put(editor, graph, node, results)


def _results(node: ir.Node, imports: Mapping[str, int]) -> dict[ir.Value, torch.Tensor] | None:
    """The outputs of a node that can be evaluated now."""
    read = (*node.inputs, *captured(node))
    constants = [value is None or query.constant(value) is not None for value in read]
    if not all(constants) or any(value.is_graph_output() for value in node.outputs):
        return None
    if node.op_type in RANDOM or any(map(is_opaque, node.outputs)):
        return None
    floats = dequantized_constant(node)
    if floats is not None:
        return {node.outputs[0]: torch.from_numpy(floats)}
    return None if _grows(node) else _evaluate(node, imports)


def _put(
    editor: Editor, graph: ir.Graph, node: ir.Node, results: Mapping[ir.Value, torch.Tensor]
) -> None:
    main = editor.graph
    source = node.inputs[0] if node.inputs else None
    same = node.op_type in REARRANGING and source is not None and query.has_single_use(source)
    if source is not None and main.initializers.get(str(source.name)) is not source:
        same = False
    for value, result in results.items():
        array = result.numpy()
        if same and source is not None:
            constant = editor.derive(source, node.op_type.lower(), array)
        else:
            constant = editor.constant(value.name or node.op_type, array)
        if graph is not main and array.size < HOISTED:
            del main.initializers[str(constant.name)]
            graph.register_initializer(constant)
        value.replace_all_uses_with(constant)
    discard(graph, node)
    editor.finish()


def _grows(node: ir.Node) -> bool:
    sizes = [query.static_sizes(value) for value in node.outputs]
    made = sum(8 * math.prod(entry or 0 for entry in size) for size in sizes if size is not None)
    read = sum(value.const_value.nbytes for value in node.inputs if value and value.const_value)
    return made > LARGE and made > 4 * read


def _evaluate(node: ir.Node, imports: Mapping[str, int]) -> dict[ir.Value, torch.Tensor] | None:
    """The outputs of a node whose inputs are constants; None if only a run can make them."""
    kernel = unit_kernel((node,), imports)
    arguments: list[torch.Tensor | None] = []
    for place, value in enumerate(kernel.inputs):
        if value is None or value.const_value is None or place in kernel.baked:
            arguments.append(None)
        else:
            arguments.append(to_torch(value.const_value, str(value.name)))
    try:
        with torch.no_grad():
            made = kernel.results(arguments)
    except (RuntimeError, UnsupportedOperatorError):
        if kernel.row is None:
            # An error of ONNX Runtime comes again where the result is needed.
            return None
        raise
    results = zip(kernel.outputs, made, strict=False)
    return {value: result for value, result in results if result is not None}


def fold_sizes(model: ir.Model) -> bool:
    """Replace values computed from ``Shape`` that are known; return whether there were any.

    Follows sizes, None where dynamic, through the operators with which exporters take shapes
    apart and join them.
    """
    editor, known, changed = Editor(model.graph), dict[ir.Value, list[int | None]](), False
    for node in list(model.graph):
        entries = _known_entries(node, known)
        if entries is None:
            continue
        value = node.outputs[0]
        known[value] = entries
        if None in entries or value.is_graph_output() or not value.uses():
            continue
        scalar = value.shape is not None and len(value.shape) == 0
        array = np.array(entries, dtype=np.int64)
        constant = editor.constant(f"{value.name}.size", array.reshape(()) if scalar else array)
        value.replace_all_uses_with(constant)
        changed = True
    return changed


def _known_entries(
    node: ir.Node, known: dict[ir.Value, list[int | None]]
) -> list[int | None] | None:
    """The entries of an integer vector (or scalar) as far as known; None if nothing is."""
    output = node.outputs[0]
    if node.op_type == "Shape":
        sizes = query.static_sizes(node.inputs[0])
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
        return None if sizes is None else sizes[start:end]
    if node.op_type == "Size":
        sizes = query.static_sizes(node.inputs[0])
        return None if sizes is None or None in sizes else [math.prod(size or 0 for size in sizes)]
    if output.shape is None or len(output.shape) > 1 or output.dtype != ir.DataType.INT64:
        return None
    entries = [_entries(value, known) for value in node.inputs]
    if not entries or entries[0] is None:
        return None
    if node.op_type in ("Squeeze", "Unsqueeze", "Cast", "Identity"):
        return entries[0]
    if node.op_type == "Gather" and len(entries) > 1 and entries[1] is not None:
        return _gather_entries(entries[0], entries[1])
    if node.op_type == "Concat" and None not in entries:
        return [size for part in entries if part is not None for size in part]
    if node.op_type == "Slice":
        return _slice_entries(entries)
    return None


def _gather_entries(source: list[int | None], places: list[int | None]) -> list[int | None] | None:
    if any(at is not None and not -len(source) <= at < len(source) for at in places):
        return None
    return [None if at is None else source[at] for at in places]


def _entries(
    value: ir.Value | None, known: dict[ir.Value, list[int | None]]
) -> list[int | None] | None:
    if value is None:
        return None
    array = query.constant(value)
    if array is not None and array.dtype == np.int64 and array.ndim <= 1:
        return [int(entry) for entry in array.reshape(-1)]
    return known.get(value)


def _slice_entries(entries: list[list[int | None] | None]) -> list[int | None] | None:
    bounds: list[int] = []
    for place, default in ((1, None), (2, None), (4, 1)):
        given = entries[place] if place < len(entries) else None
        entry = given[0] if given else default
        if entry is None:
            return None
        bounds.append(entry)
    source = entries[0]
    return None if source is None else source[slice(*bounds)]
