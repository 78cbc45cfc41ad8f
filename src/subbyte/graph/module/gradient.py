"""Which layers a gradient from the outputs reaches."""

from __future__ import annotations

import onnx_ir as ir

from subbyte.graph.module.kernels import unit_kernel
from subbyte.graph.module.opaque import units
from subbyte.graph.nested import nested_nodes
from subbyte.graph.network import Layer, Network


def untrained(network: Network) -> dict[str, str]:
    """Layers that no gradient reaches, by name: the node of ONNX Runtime's that is in the way.

    A gradient flows through every node that torch runs, and through none that ONNX Runtime
    runs; where another way to an output is free, the layer is trained.
    """
    foreign = _foreign(network)
    if not foreign:
        return {}
    reached: set[ir.Node] = set()
    waiting = [value.producer() for value in network.model.graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in reached or node in foreign:
            continue
        reached.add(node)
        waiting += [value.producer() for value in node.inputs if value is not None]
    return {
        layer.name: _in_the_way(layer, foreign)
        for layer in network.layers
        if layer.node not in reached
    }


def _foreign(network: Network) -> dict[ir.Node, str]:
    """The nodes that ONNX Runtime runs, and the node that each part of their graphs belongs to."""
    imports = network.model.opset_imports
    found = {}
    for unit in units(network.model.graph):
        if unit_kernel(unit, imports).row is None:
            for node in unit:
                label = f"{node.op_type} (node {node.name})"
                found.update(dict.fromkeys((node, *nested_nodes(node)), label))
    return found


def _in_the_way(layer: Layer, foreign: dict[ir.Node, str]) -> str:
    if layer.node in foreign:
        return foreign[layer.node]
    seen = {layer.node}
    waiting = [layer.node]
    for node in waiting:
        for value in node.outputs:
            for reader in value.consumers():
                if reader in foreign:
                    return foreign[reader]
                if reader not in seen:
                    seen.add(reader)
                    waiting.append(reader)
    return next(iter(foreign.values()))
