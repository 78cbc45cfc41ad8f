"""Writing the nodes that are not layers: in islands, on entries in any layout, or as they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.emitter import PLAIN, Emitter, Layout, ValueLayout
from subbyte.graph.islands.operators import is_candidate, is_pointwise, row_of
from subbyte.graph.islands.operators.pooling import counts_beyond_padding
from subbyte.graph.nested import captured
from subbyte.graph.write.nested import nested_attributes

_MOVED_OVER = ("Flatten", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")


class NodeWriter:
    """Writes one node at a time."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter
        self._barriers: dict[str, str] = {}

    def write_uint8(self, node: ir.Node) -> None:
        """A node of an island: as its row says, or in float between two quantizations."""
        row = row_of(node)
        carried = self.emitter.is_carried(node.outputs[0])
        if row is None or row.write is None or is_pointwise(node) or not carried:
            self._pointwise(node)
        else:
            row.write(self.emitter, node, "uint8")

    def write_float(self, node: ir.Node) -> None:
        """A node outside islands; one on entries takes its feature map as it is laid out."""
        row = row_of(node)
        move = row.write if row is not None and row.moves and is_candidate(node) else None
        if move is not None and self.emitter.layout(*query.data_inputs(node)) == "last":
            move(self.emitter, node, "float")
            return
        layout = self._layout(node)
        outputs = [self.emitter.define(value, ("float", layout)) for value in node.outputs]
        self._compute(node, layout, outputs)

    def _compute(self, node: ir.Node, layout: Layout, outputs: list[str]) -> None:
        """The operator itself, on floats in ``layout``."""
        row = row_of(node)
        own = row.channels_last if row is not None and layout == "last" else None
        if own is not None and own(self.emitter, node, outputs[0]):
            return
        form: ValueLayout = ("float", layout)
        clip = query.is_standard(node, "Clip")
        inputs = [
            self.emitter.get(value, PLAIN if clip and index else form)
            for index, value in enumerate(node.inputs)
        ]
        if counts_beyond_padding(node):
            # Keeps the operator from being fused to the integer one.
            inputs = [self._barrier(inputs[0])]
        self._copy(node, inputs, outputs)

    def _barrier(self, name: str) -> str:
        """The same floats, behind a node over which onnxruntime moves no DequantizeLinear."""
        if name not in self._barriers:
            self._barriers[name] = self.emitter.fresh()
            lowest = self.emitter.array(np.asarray(np.finfo(np.float32).min))
            self.emitter.node("Clip", [name, lowest], [self._barriers[name]])
        return self._barriers[name]

    def _outer(self, value: ir.Value) -> str:
        """A value as a subgraph reads it.

        onnxruntime 1.32 moves a DequantizeLinear down over nodes that move entries, and ends
        the process where a subgraph reads the last of these.
        """
        name = self.emitter.get(value)
        made_by = {output: node for node in self.emitter.nodes for output in node.output}
        node = made_by.get(name)
        while node is not None and node.op_type in _MOVED_OVER:
            node = made_by.get(node.input[0])
            if node is not None and node.op_type == "DequantizeLinear":
                return self._barrier(name)
        return name

    def _copy(self, node: ir.Node, inputs: list[str], outputs: list[str]) -> None:
        domain = "" if query.is_standard(node) else node.domain
        outer = {str(value.name): self._outer(value) for value in captured(node)}
        made = self.emitter.node(node.op_type, inputs, outputs, domain)
        made.attribute.extend(map(ir.serde.serialize_attribute, _attributes(node)))
        made.attribute.extend(nested_attributes(node, outer, self.emitter.fresh))

    def _layout(self, node: ir.Node) -> Layout:
        """The layout in which a node computes on floats."""
        row = row_of(node)
        moving = query.data_inputs(node)
        if row is None or not row.elementwise or any(query.rank(value) != 4 for value in moving):
            return "plain"
        return self.emitter.layout(*moving)

    def _pointwise(self, node: ir.Node) -> None:
        """Dequantize, compute, quantize; between two such nodes the value stays float."""
        y, layout = node.outputs[0], self.emitter.layout(*query.data_inputs(node))
        if not self.emitter.is_carried(y):
            self._compute(node, layout, [self.emitter.define(y, ("float", layout))])
            return
        result = self.emitter.fresh()
        self._compute(node, layout, [result])
        output = self.emitter.define(y, ("uint8", layout))
        self.emitter.node("QuantizeLinear", [result, *self.emitter.quantization(y)], [output])


def _attributes(node: ir.Node) -> list[ir.Attr]:
    """All but graphs, and dilations of one, which an AveragePool of set 18 does not know."""
    attributes = dict(node.attributes)
    spread = any(dilation != 1 for dilation in query.attribute(node, "dilations", []))
    if query.is_standard(node, "AveragePool") and not spread:
        attributes.pop("dilations", None)
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return [attribute for attribute in attributes.values() if attribute.type not in kinds]
