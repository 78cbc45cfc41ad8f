"""Standard nodes in the place of one node that stands for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from subbyte.graph.passes.editor import Editor

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

_LAYERS = (*("Attention", "Conv", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul"),)


class NodeWriter:
    """Makes the nodes that stand for ``node``; `finish` puts them in its place."""

    def __init__(self, editor: Editor, node: ir.Node) -> None:
        self.editor, self.node = editor, node
        self.made: list[ir.Node] = []
        self.constants: list[ir.Value] = []

    def input(self, place: int) -> ir.Value | None:
        """Input ``place``, None where it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else None

    def value(self, place: int) -> ir.Value:
        """Input ``place``, which the operator needs."""
        found = self.input(place)
        if found is None:
            raise ValueError(f"node {self.node.name} has no input {place}")
        return found

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.node.attributes.get_float(name, default))

    def op(self, kind: str, *inputs: ir.Value | float | None, **attributes: Any) -> ir.Value:
        """The output of a new standard node; a number becomes a float32 constant."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(
        self,
        kind: str,
        count: int,
        *inputs: ir.Value | float | None,
        domain: str = "",
        **attributes: Any,
    ) -> list[ir.Value]:
        """The outputs of a new node."""
        name = f"{self.node.name}.{len(self.made)}"
        values = [self.constant(x) if isinstance(x, float) else x for x in inputs]
        made = ir.node(kind, values, attributes, domain=domain, num_outputs=count, name=name)
        self.made.append(made)
        return list(made.outputs)

    def integers(self, *entries: int) -> ir.Value:
        """A constant of int64."""
        return self.constant(np.array(entries, np.int64))

    def constant(self, array: Any) -> ir.Value:
        """A new initializer; a Python number becomes float32."""
        array = np.float32(array) if isinstance(array, float) else array
        value = self.editor.constant(f"{self.node.name}.constant", np.asarray(array))
        self.constants.append(value)
        return value

    def drop(self) -> None:
        """Leave no trace: the node stays."""
        for node in self.made:
            for place in range(len(node.inputs)):
                node.replace_input_with(place, None)
        for value in self.constants:
            del self.editor.graph.initializers[str(value.name)]

    def finish(self, made: dict[ir.Value, ir.Value]) -> None:
        """Put the nodes in the place of the one that they stand for."""
        graph = self.editor.graph
        for node in self.made:
            for value in node.outputs:
                value.name = self.editor.unique(str(node.name))
        # A layer keeps its name, by which plans and reports know it.
        main = next((node for node in self.made if node.op_type in _LAYERS), None)
        if main is not None:
            main.name = self.node.name
        graph.insert_before(self.node, self.made)
        for old, new in made.items():
            new.type, new.shape = old.type, old.shape
            name, old.name = old.name, self.editor.unique(f"{old.name}.fused")
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            new.name = name
        graph.remove(self.node, safe=True)


Lowered = dict[ir.Value, ir.Value] | None
"""The value that stands for each output that is covered; None for a form that is not."""
