"""The interval of every value of a graph, before any sample is seen.

Two passes over the graph, with the range rules of `subbyte.graph.islands.operators`.
Forward: a ReLU's output is not negative, and neither is its maximum pooling. Backward: if
everything that reads a value clamps it to [0, 6], nothing is lost by storing it clamped, and
then the clamp itself has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.islands.intervals import EVERYTHING, Interval, hull
from subbyte.graph.islands.operators import row_of


def forward_ranges(nodes: Iterable[ir.Node]) -> dict[str, Interval]:
    """Range of every value as its producers bound it."""
    ranges: dict[str, Interval] = {}
    for node in nodes:
        row = row_of(node)
        inputs = [_range(value, ranges) for value in node.inputs]
        interval = EVERYTHING if row is None or not inputs else row.interval(node, inputs)
        for output in node.outputs:
            ranges[output.name or ""] = interval
    return ranges


def needed_ranges(graph: ir.Graph) -> dict[str, Interval]:
    """Per value, the interval outside which no reader can tell values apart."""
    needed: dict[str, Interval] = {}
    for node in reversed(list(graph)):
        for value in node.outputs:
            needed[value.name or ""] = _needed(value, needed)
    for value in graph.inputs:
        needed[value.name or ""] = _needed(value, needed)
    return needed


def _range(value: ir.Value | None, ranges: Mapping[str, Interval]) -> Interval:
    array = query.constant(value)
    if value is None or (array is not None and array.size == 0):
        return EVERYTHING
    if array is not None:
        return Interval(float(array.min()), float(array.max()))
    return ranges.get(value.name or "", EVERYTHING)


def _needed(value: ir.Value, needed: Mapping[str, Interval]) -> Interval:
    if value.is_graph_output():
        return EVERYTHING
    return hull(_needed_by(node, needed) for node, _ in value.uses())


def _needed_by(node: ir.Node, needed: Mapping[str, Interval]) -> Interval:
    row = row_of(node)
    if row is None:
        return EVERYTHING
    return row.needed(node, hull(needed.get(out.name or "", EVERYTHING) for out in node.outputs))
