"""Who shares a weight: equal weights that are read alike, and nobody else.

A coded weight belongs to one initializer and has one form W[O, T, I]. An initializer that is read
in several forms becomes one initializer a form. Its readers may be a Conv and a ConvTranspose,
nodes with other groups, one that reads it turned, or one that does not multiply.

Initializers of the same content and form become one, as the table of a language model and its
transposed output layer.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.control_flow import HOISTED
from subbyte.graph.passes.readings import Reading, reading_of

LEAST_COUNT = HOISTED
"""Weights of fewer numbers are not worth a search for equal ones, nor code if no layer's."""


def share_weights(model: ir.Model) -> None:
    """Give every form of a weight its own initializer, and equal ones a common one."""
    editor = Editor(model.graph)
    for value in list(model.graph.initializers.values()):
        _split(editor, value)
    _merge_equal(model.graph)


def _split(editor: Editor, value: ir.Value) -> None:
    array = query.float_constant(value)
    if array is None:
        return
    readers = _readers(value)
    kept = None if None in readers else next(iter(readers), None)
    for reading, uses in readers.items():
        if reading == kept or reading is None:
            continue
        copy = editor.constant(f"{value.name}.{reading.order.replace(' ', '_')}", array)
        for node, place in uses:
            node.replace_input_with(place, copy)


def _readers(value: ir.Value) -> dict[Reading | None, list[tuple[ir.Node, int]]]:
    found: dict[Reading | None, list[tuple[ir.Node, int]]] = {}
    if value.is_graph_output():
        found[None] = []
    for use in value.uses():
        found.setdefault(reading_of(use.node, use.idx), []).append((use.node, use.idx))
    return found


def _merge_equal(graph: ir.Graph) -> None:
    first: dict[tuple[Reading, str, tuple[int, ...], bytes], ir.Value] = {}
    for value in list(graph.initializers.values()):
        array = query.float_constant(value)
        readers = _readers(value)
        reading = next(iter(readers), None)
        if array is None or array.size < LEAST_COUNT or len(readers) != 1 or reading is None:
            continue
        digest = hashlib.sha256(np.ascontiguousarray(array).data).digest()
        other = first.setdefault((reading, array.dtype.str, array.shape, digest), value)
        if other is not value:
            value.replace_all_uses_with(other)
            del graph.initializers[str(value.name)]
