"""Which node of a written network an engine stumbles over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from subbyte.runtime import Engine
from subbyte.runtime.model import session_options
from subbyte.runtime.ort import ERRORS, open_session


def guilty_node(path: Path, engine: Engine, feeds: Mapping[str, Any] | None = None) -> str | None:
    """``name (operator)`` of the first node that the engine cannot open, or with ``feeds`` run.

    The nodes of the file are in the order in which they run: the first so many of them are a
    network of their own, and how many still work is found by bisection. None where all work:
    it is no single node then.
    """
    model = onnx.load(path)
    nodes = list(model.graph.node)

    def fails(count: int) -> bool:
        try:
            part = _first(model, nodes[:count]).SerializeToString()
            session = open_session(part, session_options(engine, None))
            if feeds is not None:
                session.run(None, dict(feeds))
        except ERRORS:
            return True
        return False

    count = _least(fails, len(nodes))
    if count is None:
        return None
    node = nodes[count - 1]
    return f"{node.name or node.output[0]} ({node.op_type})"


def _least(fails: Callable[[int], bool], most: int) -> int | None:
    """The least number up to ``most`` that fails, where all above it do too."""
    if not fails(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


def _first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """``model`` with these nodes only; its outputs are the values that none of them reads."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    read = {name for node in _all(nodes) for name in node.input}
    ends = [name for node in nodes for name in node.output if name and name not in read]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    return part


def _all(nodes: Iterator[onnx.NodeProto] | list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and the nodes of their subgraphs, which read outer values by name."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all(list(graph.node))
