"""Values that are no torch tensors: sequences, optionals, texts, element types of a few bits.

The nodes between which such a value goes are run together, by ONNX Runtime: it stays inside.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph.module.foreign import WAY_OUT
from subbyte.graph.nested import captured, owners, subgraphs
from subbyte.graph.ops import PREPARED
from subbyte.graph.ops.element_types import TORCH_DTYPES

Unit = tuple[ir.Node, ...]
"""Nodes that are run together."""

_LAYERS = frozenset({("", "Conv"), ("", "ConvTranspose"), (PREPARED, "Linear")})


def is_opaque(value: ir.Value) -> bool:
    """Whether ``value`` is known to be no tensor that torch can hold."""
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        return True
    if value.dtype is not None and value.dtype not in TORCH_DTYPES:
        return True
    node = value.producer()
    if node is None:
        return False
    place = node.outputs.index(value)
    if node.op_type == "Identity" and node.inputs[0] is not None:
        return is_opaque(node.inputs[0])
    inner = next(subgraphs(node), None)
    if inner is not None:
        # The body of a Loop also gives out whether to go on.
        given = inner.outputs[place - len(node.outputs) :]
        return bool(given) and is_opaque(given[0])
    return _gives_no_tensor(node, place)


def _gives_no_tensor(node: ir.Node, place: int) -> bool:
    try:
        schema = onnx.defs.get_schema(node.op_type, domain=node.domain)
    except onnx.defs.SchemaError:
        return False
    if not schema.outputs:
        return False
    kinds = schema.outputs[min(place, len(schema.outputs) - 1)].types
    return bool(kinds) and not any(kind.startswith("tensor(") for kind in kinds)


def units(graph: ir.Graph) -> list[Unit]:
    """The nodes of ``graph`` in an order in which they can run, the nodes of one unit together.

    Raises:
        UnsupportedOperatorError: a layer would have to be part of a unit.
    """
    nodes = list(graph)
    parts = _Parts(nodes)
    values = [value for node in nodes for value in node.outputs if is_opaque(value)]
    if not values:
        return [(node,) for node in nodes]
    owner = owners(graph)
    for value in values:
        producer = value.producer()
        for reader in value.consumers():
            if producer is not None:
                parts.join(owner[producer], owner[reader])
    found = _sorted(nodes, parts, owner)
    for unit in found:
        _check(unit)
    return found


def gather_units(graph: ir.Graph) -> None:
    """Put the nodes of each unit side by side, where there are units of several nodes."""
    found = units(graph)
    if any(len(unit) > 1 for unit in found):
        nodes = [node for unit in found for node in unit]
        graph.remove(nodes)
        graph.extend(nodes)


class _Parts:
    """Disjoint sets of nodes, each known by its first node in the graph's order."""

    def __init__(self, nodes: Sequence[ir.Node]) -> None:
        self.parent = {node: node for node in nodes}
        self.order = {node: place for place, node in enumerate(nodes)}

    def find(self, node: ir.Node) -> ir.Node:
        while self.parent[node] is not node:
            node = self.parent[node]
        return node

    def join(self, a: ir.Node, b: ir.Node) -> None:
        first, second = sorted((self.find(a), self.find(b)), key=self.order.__getitem__)
        self.parent[second] = first


def _sorted(
    nodes: Sequence[ir.Node], parts: _Parts, owner: Mapping[ir.Node, ir.Node]
) -> list[Unit]:
    """Units in order; a node that lies between two nodes of one unit becomes part of it."""
    while True:
        before = _edges(nodes, parts)
        done = _in_order(before, parts)
        free = set(done)
        stuck = [node for node in before if node not in free]
        if not stuck:
            members: dict[ir.Node, list[ir.Node]] = {head: [] for head in done}
            for node in nodes:
                members[parts.find(node)].append(node)
            return [tuple(unit) for unit in members.values()]
        cycle = _cycle(stuck[0], before, set(stuck))
        for node in cycle[1:]:
            parts.join(cycle[0], node)


def _edges(nodes: Sequence[ir.Node], parts: _Parts) -> dict[ir.Node, set[ir.Node]]:
    """For each unit, the units whose values it reads."""
    before: dict[ir.Node, set[ir.Node]] = {}
    for node in nodes:
        head = parts.find(node)
        reads = before.setdefault(head, set())
        for value in (*node.inputs, *captured(node)):
            producer = None if value is None else value.producer()
            if producer in parts.parent and parts.find(producer) is not head:
                reads.add(parts.find(producer))
    return before


def _in_order(before: Mapping[ir.Node, set[ir.Node]], parts: _Parts) -> list[ir.Node]:
    """The units that can be put in order, as early in the graph's order as they can run."""
    waiting = {head: len(reads) for head, reads in before.items()}
    after: dict[ir.Node, list[ir.Node]] = {head: [] for head in before}
    for head, reads in before.items():
        for read in reads:
            after[read].append(head)
    heads = {parts.order[head]: head for head in before}
    ready = [place for place, head in heads.items() if not waiting[head]]
    heapq.heapify(ready)
    done = []
    while ready:
        head = heads[heapq.heappop(ready)]
        done.append(head)
        for reader in after[head]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, parts.order[reader])
    return done


def _cycle(
    start: ir.Node, before: Mapping[ir.Node, set[ir.Node]], stuck: set[ir.Node]
) -> list[ir.Node]:
    """Units that wait for one another: every stuck one waits for a stuck one."""
    path = [start]
    while True:
        ahead = next(head for head in before[path[-1]] if head in stuck)
        if ahead in path:
            return path[path.index(ahead) :]
        path.append(ahead)


def _check(unit: Unit) -> None:
    layers = [node for node in unit if (node.domain, node.op_type) in _LAYERS]
    if len(unit) > 1 and layers:
        raise UnsupportedOperatorError(
            "a layer between operators that pass on sequences, texts or optional values",
            where=f"node {layers[0].name}",
            expected=WAY_OUT,
            got=", ".join(f"{node.op_type} (node {node.name})" for node in _others(unit)),
        )


def _others(unit: Unit) -> Iterator[ir.Node]:
    return (node for node in unit if (node.domain, node.op_type) not in _LAYERS)
