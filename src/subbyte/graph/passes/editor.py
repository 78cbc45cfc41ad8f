"""Small edits of a graph that every preparation step needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.nested import all_nodes, nested_graphs


def describe(value: ir.Value, like: ir.Value) -> None:
    """Give ``value`` the element type of ``like``, and its shape."""
    value.type, value.shape = like.type, like.shape


class Editor:
    """Adds constants to a graph and replaces nodes, keeping names where they stay unique."""

    def __init__(self, graph: ir.Graph, below: bool = True) -> None:
        """``below``: names in graphs of nodes are taken too."""
        self.graph = graph
        self._derived: dict[tuple[ir.Value, str], ir.Value] = {}
        nodes = all_nodes(graph) if below else graph
        self._names = {value.name for node in nodes for value in node.outputs}
        for each in (graph, *(nested_graphs(graph) if below else ())):
            self._names |= {v.name for v in (*each.inputs, *each.initializers.values())}

    def unique(self, name: str) -> str:
        """``name``, or the first of name_2, name_3, ... that no value has."""
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer with a name like ``name``."""
        name = self.unique(name)
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def derive(self, source: ir.Value, how: str, array: NDArray[Any]) -> ir.Value:
        """An initializer made of ``source``; one per (source, how), so that sharing survives.

        It takes the name of ``source`` in `finish`, if nothing else uses ``source`` then.
        """
        key = (source, how)
        if key not in self._derived:
            self._derived[key] = self.constant(f"{source.name}.{how}", array)
        return self._derived[key]

    def updated(self, value: ir.Value, name: str, array: NDArray[Any]) -> ir.Value:
        """``value`` with new content if one node alone reads it, else a new initializer."""
        if not query.has_single_use(value) or value.is_graph_input():
            return self.constant(name, array)
        value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)
        value.shape = ir.Shape(array.shape)
        return value

    def finish(self) -> None:
        """Drop constants that nothing reads and give their names to constants derived of them."""
        for (source, _), value in self._derived.items():
            if not source.uses() and source.is_initializer() and value.is_initializer():
                name = source.name
                if name is None or source.is_graph_input() or source.is_graph_output():
                    continue
                del self.graph.initializers[name]
                value.name = name
        self._derived.clear()

    def replace(self, old: Sequence[ir.Node], new: ir.Node) -> None:
        """Put ``new`` in the place of a chain of nodes; it takes over the last one's outputs."""
        last = old[-1]
        ir.convenience.replace_nodes_and_values(
            self.graph, last, list(old), [new], last.outputs, new.outputs
        )
