"""Graphs within nodes, in models as they are stored (`subbyte.graph.nested` has onnx_ir's)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

RANDOM = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike"),
    }
)
"""Operators that give something else at each run."""


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and every graph that its nodes hold, at any depth."""
    yield graph
    for node in graph.node:
        yield from inner_graphs(node)


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Every graph that ``node`` holds, at any depth."""
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.output:
                yield from graphs(inner)


def reads(node: onnx.NodeProto) -> list[str]:
    """The values that ``node`` reads: its inputs, then the values that its graphs read from
    outside."""
    inside = set[str]()
    for inner in inner_graphs(node):
        inside.update(value.name for value in (*inner.input, *inner.initializer))
        inside.update(name for each in inner.node for name in each.output)
    nested = [name for inner in inner_graphs(node) for each in inner.node for name in each.input]
    return [*node.input, *(name for name in nested if name and name not in inside)]


def value_names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a value in ``graph`` and below."""
    found = set[str]()
    for each in graphs(graph):
        found.update(value.name for value in (*each.input, *each.output, *each.initializer))
        found.update(name for node in each.node for name in (*node.input, *node.output))
    return found


def rename_reads(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Other names for the values that ``node`` and its graphs read; no value of theirs may have
    one."""
    nested = [each for inner in inner_graphs(node) for each in inner.node]
    for each in (node, *nested):
        each.input[:] = [renamed.get(name, name) for name in each.input]
