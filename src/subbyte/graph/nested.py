"""Nodes with graphs of their own (If, Loop, Scan), and the values that these read from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import onnx_ir as ir


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs that ``node`` holds itself."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def has_subgraphs(node: ir.Node) -> bool:
    """Whether ``node`` has a graph of its own, with or without nodes."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def nested_graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Every graph below ``graph``, at any depth."""
    for node in graph:
        for inner in subgraphs(node):
            yield inner
            yield from nested_graphs(inner)


def nested_nodes(node: ir.Node) -> Iterator[ir.Node]:
    """Every node in the graphs of ``node``, at any depth."""
    for inner in subgraphs(node):
        for each in inner:
            yield each
            yield from nested_nodes(each)


def all_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of ``graph``, each followed by the nodes below it."""
    for node in graph:
        yield node
        yield from nested_nodes(node)


def captured(node: ir.Node) -> tuple[ir.Value, ...]:
    """The values that the graphs of ``node`` read from outside, in the order of first use."""
    inside: set[ir.Value] = set()
    for inner in subgraphs(node):
        for graph in (inner, *nested_graphs(inner)):
            inside.update(graph.inputs)
            inside.update(graph.initializers.values())
    inside.update(value for each in nested_nodes(node) for value in each.outputs)
    read = (value for each in nested_nodes(node) for value in each.inputs if value is not None)
    return tuple(dict.fromkeys(value for value in read if value not in inside))


def owners(graph: ir.Graph) -> dict[ir.Node, ir.Node]:
    """For every node of ``graph`` and below it, the node of ``graph`` that it is part of."""
    found = {}
    for node in graph:
        found[node] = node
        found.update(dict.fromkeys(nested_nodes(node), node))
    return found


def leads_to(
    starts: Iterable[ir.Value], found: Callable[[ir.Node, ir.Value], bool], graph: ir.Graph
) -> bool:
    """Whether a value computed from ``starts``, these included, is read so that ``found(reader,
    value)``; a value read in a graph of a node goes into all that this node gives."""
    owner = owners(graph) if any(True for _ in nested_graphs(graph)) else {}
    waiting = list(starts)
    seen = set(waiting)
    while waiting:
        value = waiting.pop()
        for reader in value.consumers():
            if found(reader, value):
                return True
            new = [made for made in owner.get(reader, reader).outputs if made not in seen]
            seen.update(new)
            waiting += new
    return False


def discard(graph: ir.Graph, node: ir.Node) -> None:
    """Remove ``node``, whose outputs nothing reads; its graphs' reads count no more."""
    for each in nested_nodes(node):
        for place in range(len(each.inputs)):
            each.replace_input_with(place, None)
    graph.remove(node, safe=True)
