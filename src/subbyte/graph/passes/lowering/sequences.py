"""1-D networks become 2-D networks of height one.

Sequences [N, C, L] between 1-D convolutions, pools and what stands among them become feature maps
[N, C, 1, L], so that islands, kernels and every rule for maps hold for them. A node that cannot
compute on maps (`subbyte.graph.passes.lowering.sequence_nodes`) reads the sequence again. At such a
border stands an Unsqueeze or a Squeeze, which moves no number.

Some exporters write 1-D convolutions as 2-D ones between a Squeeze and an Unsqueeze, of whichever
axis: the nodes between the two compute on maps as well, and the pair goes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.sequence_nodes import (
    RANK,
    SequenceOperator,
    row_of,
    sequences,
)

HEIGHT = 2
"""Where the maps of 1-D convolutions have their axis of length one."""


def lift_sequences(model: ir.Model) -> None:
    """Put an axis of length one into sequences, wherever that makes maps of them."""
    for at in (HEIGHT, 3, 1):
        _Lift(model.graph, at).run()


class _Lift:
    """One run, for the axis ``at``."""

    def __init__(self, graph: ir.Graph, at: int) -> None:
        self.graph, self.at = graph, at
        self.editor = Editor(graph)
        self.nodes = list(graph)
        self.rows: dict[ir.Node, SequenceOperator] = {}
        self.lifted: dict[ir.Value, None] = {}
        self.maps: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        self._join()
        while self._part():
            pass
        for node in self.nodes:
            if node in self.rows:
                self._rewrite(node)
        for value in self.lifted:
            self._border(value)
        self.editor.finish()

    # which nodes ---------------------------------------------------------------------

    def _join(self) -> None:
        """Take windows and the nodes behind them, as far as nodes can compute on maps."""
        for node in self.nodes:
            row = row_of(node, self.at)
            if row is None or (row.window and self.at != HEIGHT):
                continue
            if row.window or any(self._is_map(value) for value in sequences(node, row)):
                self.rows[node] = row
        if not any(query.is_standard(node, "Conv", "ConvTranspose") for node in self.rows):
            # Pools alone gain nothing.
            self.rows = {node: row for node, row in self.rows.items() if not row.window}

    def _part(self) -> bool:
        """Leave out nodes that would only add borders; whether there were any."""
        count = len(self.rows)
        for node in reversed(self.nodes):
            if node in self.rows and not self.rows[node].window and self._adds_borders(node):
                del self.rows[node]
        return len(self.rows) < count

    def _adds_borders(self, node: ir.Node) -> bool:
        maps = [self._is_map(value) for value in sequences(node, self.rows[node])]
        if not any(maps):
            return True
        read = any(
            reader in self.rows or self._drops(reader, "Unsqueeze")
            for value in node.outputs
            for reader in value.consumers()
        )
        return not read and not (self.at == HEIGHT and all(maps))

    def _is_map(self, value: ir.Value) -> bool:
        """Whether ``value`` exists as a map."""
        producer = value.producer()
        if producer is None:
            return False
        return producer in self.rows or self._drops(producer, "Squeeze")

    def _drops(self, node: ir.Node, kind: str) -> bool:
        """Whether ``node`` is a Squeeze or Unsqueeze of the axis, between a map and a sequence."""
        if not query.is_standard(node, kind):
            return False
        axes = query.constant(query.optional_input(node, 1))
        map_ = node.inputs[0] if kind == "Squeeze" else node.outputs[0]
        if axes is None or axes.size != 1 or query.rank(map_) != RANK + 1:
            return False
        return bool(axes.item() % (RANK + 1) == self.at)

    # rewriting -----------------------------------------------------------------------

    def _rewrite(self, node: ir.Node) -> None:
        row = self.rows[node]
        read = sequences(node, row)
        for place, value in enumerate(node.inputs):
            if value is not None and value in read:
                node.replace_input_with(place, self._map(value, node))
        gives = [v for v in node.outputs if row.window or query.rank(v) == RANK]
        row.rewrite(self.editor, node, self.at)
        for value in gives:
            self.lifted[value] = None
            if value.shape is not None:
                value.shape = self._map_shape(value.shape)

    def _map_shape(self, shape: ir.Shape) -> ir.Shape:
        return ir.Shape([*shape[: self.at], 1, *shape[self.at :]])

    def _map(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """The map of a sequence, made before ``reader`` if there is none yet."""
        if value in self.lifted:
            return value
        if value not in self.maps:
            producer = value.producer()
            source = producer.inputs[0] if producer is not None else None
            if producer is not None and source is not None and self._drops(producer, "Squeeze"):
                self.maps[value] = source
            else:
                made = self._move("Unsqueeze", value)
                if value.shape is not None:
                    made.outputs[0].shape = self._map_shape(value.shape)
                self.graph.insert_before(reader, made)
                self.maps[value] = made.outputs[0]
        return self.maps[value]

    def _move(self, kind: str, value: ir.Value) -> ir.Node:
        name = self.editor.unique(f"{value.name}.{kind.lower()}")
        axes = self.editor.constant(f"{name}.axes", np.array([self.at], np.int64))
        node = ir.node(kind, [value, axes], name=name)
        node.outputs[0].name, node.outputs[0].type = name, value.type
        return node

    def _border(self, value: ir.Value) -> None:
        """Give the readers of ``value`` that take no maps a sequence."""
        outside = [(node, place) for node, place in value.uses() if node not in self.rows]
        for reader, place in list(outside):
            if self._drops(reader, "Unsqueeze") and not reader.outputs[0].is_graph_output():
                outside.remove((reader, place))
                reader.outputs[0].replace_all_uses_with(value)
                self.graph.remove(reader, safe=True)
        producer = value.producer()
        if producer is None or not (outside or value.is_graph_output()):
            return
        node = self._move("Squeeze", value)
        sequence = node.outputs[0]
        if value.shape is not None:
            sequence.shape = ir.Shape([*value.shape[: self.at], *value.shape[self.at + 1 :]])
        self.graph.insert_after(producer, node)
        for reader, place in outside:
            reader.replace_input_with(place, sequence)
        if value.is_graph_output():
            self._take_output(value, sequence)

    def _take_output(self, value: ir.Value, sequence: ir.Value) -> None:
        """Make ``sequence`` the output that ``value`` was, under its name."""
        outputs = self.graph.outputs
        for place, output in enumerate(list(outputs)):
            if output is value:
                outputs[place] = sequence
        name, value.name = value.name, self.editor.unique(f"{value.name}.map")
        sequence.name = name
