"""Writing the weights that are unpacked before their nodes read them."""

from __future__ import annotations

import functools

import onnx_ir as ir

from subbyte.graph.functions.unpacked import has_rows, rows_function, tensor_function
from subbyte.graph.network import Network, Unpacked
from subbyte.graph.write.layers import LayerWriter


class UnpackedWriter:
    """Writes a call for every coded weight that no layer reads, before its first reader."""

    def __init__(self, network: Network, layers: LayerWriter) -> None:
        self.layers, self.emitter = layers, layers.emitter
        coded = [entry for entry in network.unpacked if entry.weight in layers.coded]
        self._rows = {
            entry.node.outputs[0].name: entry
            for entry in coded
            if entry.rows and has_rows(layers.coded[entry.weight].method)
        }
        first = {entry.weight: entry for entry in reversed(coded)}
        self._names: dict[str, str] = {}
        self.emitter.made = {
            weight: functools.partial(self._tensor, entry) for weight, entry in first.items()
        }

    def write(self, node: ir.Node) -> bool:
        """Write ``node`` if it takes rows of a coded weight; whether it does."""
        entry = self._rows.get(node.outputs[0].name)
        if entry is None:
            return False
        coded = self.layers.coded[entry.weight]
        weight = self.layers.weight_function(coded)
        function = rows_function(weight, coded.method, coded.variant)
        indices, output = self.emitter.get(node.inputs[1]), self.emitter.define(node.outputs[0])
        inputs = [indices, *self.layers.arrays(entry.weight, coded)]
        attributes = {**coded.attributes, "row_shape": list(entry.stored[1:])}
        made = self.emitter.call(function, inputs, [output], **attributes)
        made.name = entry.name
        return True

    def _tensor(self, entry: Unpacked) -> str:
        """The unpacked weight; all that read it read the same."""
        if entry.weight not in self._names:
            coded = self.layers.coded[entry.weight]
            weight = self.layers.weight_function(coded)
            function = tensor_function(weight, entry.order, self.layers.emitter.opset)
            attributes = {
                **coded.attributes,
                "tensor_shape": list(entry.stored),
                "group": entry.shape.groups,
            }
            output = self.emitter.fresh()
            inputs = self.layers.arrays(entry.weight, coded)
            made = self.emitter.call(function, inputs, [output], **attributes)
            made.name = entry.name
            self._names[entry.weight] = output
        return self._names[entry.weight]
