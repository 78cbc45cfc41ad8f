"""Which outputs may have another shape once weights are coded.

The shapes of most networks follow from the shapes of their inputs alone. In some networks shapes
follow from values: how many boxes are found, how long a predicted sound is. Where coded layers have
a part in these values, a compressed network may rightly give another number of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from subbyte.graph.network import Network
from subbyte.graph.ops import OPERATORS

COUNTING = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""Operators whose output shape depends on the values of their inputs."""

SIZED: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}
"""Places of the inputs whose values are sizes of the output."""


def loose_outputs(network: Network) -> frozenset[str]:
    """Names of the outputs of ``network`` whose shape may depend on values that coding changes.

    A node with subgraphs, or one that the reader has no row for, is taken for one whose shapes
    depend on all values that it reads. In a network without layers all inputs count as changed:
    it may be a compressed one, of which the weights are inputs.
    """
    graph = network.model.graph
    coded = {layer.node for layer in network.layers}
    changed: set[ir.Value] = set() if coded else set(graph.inputs)
    loose: set[ir.Value] = set()
    for node in graph:
        read = [value for value in node.inputs if value is not None]
        if node.op_type in ("Shape", "Size") and not node.domain:
            # Its own shape is known; its values are the sizes of its input.
            changed.update(node.outputs if not loose.isdisjoint(read) else ())
            continue
        if _depends_on_values(node, changed) or not loose.isdisjoint(read):
            loose.update(node.outputs)
        if node in coded or _has_subgraph(node) or not changed.isdisjoint(read):
            changed.update(node.outputs)
    return frozenset(str(value.name) for value in graph.outputs if value in loose)


def _depends_on_values(node: ir.Node, changed: set[ir.Value]) -> bool:
    if _has_subgraph(node):
        return True
    known = (node.domain, node.op_type) in OPERATORS and node.op_type not in COUNTING
    places = SIZED.get(node.op_type, ()) if known else range(len(node.inputs))
    return any(place < len(node.inputs) and node.inputs[place] in changed for place in places)


def _has_subgraph(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())
