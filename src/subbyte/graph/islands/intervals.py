"""What is known about a value's range before any sample is seen.

Two passes over the graph. Forward: a ReLU's output is not negative, and neither is its
maximum pooling. Backward: if everything that reads a value clamps it to [0, 6], nothing
is lost by storing it clamped, and then the clamp itself has nothing left to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from subbyte.graph import query

MOVEMENT = frozenset(
    {"Slice", "Pad", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Resize"}
)
_SELECTS = MOVEMENT | {"Concat", "MaxPool"}
_AVERAGES = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_UNIT = frozenset({"Sigmoid", "HardSigmoid", "Softmax"})


@dataclass(frozen=True)
class Interval:
    """The closed interval [low, high]."""

    low: float = -math.inf
    high: float = math.inf

    def clamp(self, low: float, high: float) -> Interval:
        """Image under clamping to [low, high]."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))

    def meet(self, other: Interval) -> Interval:
        """Intersection."""
        return Interval(max(self.low, other.low), min(self.high, other.high))

    def within(self, other: Interval) -> bool:
        """Whether ``other`` contains this interval."""
        return other.low <= self.low and self.high <= other.high


EVERYTHING = Interval()


def hull(intervals: Iterable[Interval]) -> Interval:
    """The least interval that contains all of them."""
    found = list(intervals)
    if not found:
        return EVERYTHING
    return Interval(min(i.low for i in found), max(i.high for i in found))


def forward_ranges(nodes: Iterable[ir.Node]) -> dict[str, Interval]:
    """Range of every value as its producers bound it."""
    ranges: dict[str, Interval] = {}
    for node in nodes:
        interval = _output_range(node, ranges)
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


def _output_range(node: ir.Node, ranges: Mapping[str, Interval]) -> Interval:
    bounds = query.clip_bounds(node)
    if not query.is_standard(node) or not node.inputs:
        return EVERYTHING
    first = _range(node.inputs[0], ranges)
    if bounds is not None:
        return first.clamp(*bounds)
    if node.op_type in _UNIT:
        return Interval(0.0, 1.0)
    if node.op_type == "Pad" or (
        node.op_type == "AveragePool" and query.attribute(node, "count_include_pad", 0)
    ):
        return hull([first, *_padding_range(node)])
    if node.op_type == "Concat":
        return hull(_range(value, ranges) for value in node.inputs)
    if node.op_type in _SELECTS or node.op_type in _AVERAGES:
        return first
    if node.op_type in ("Add", "Mul") and all(_range(v, ranges).low >= 0 for v in node.inputs):
        return Interval(0.0, math.inf)
    return EVERYTHING


def _padding_range(node: ir.Node) -> list[Interval]:
    value = query.optional_input(node, 2) if node.op_type == "Pad" else None
    if value is None:
        return [Interval(0.0, 0.0)]
    array = query.constant(value)
    return [EVERYTHING] if array is None else [Interval(float(array.item()), float(array.item()))]


def _needed(value: ir.Value, needed: Mapping[str, Interval]) -> Interval:
    if value.is_graph_output():
        return EVERYTHING
    return hull(_needed_by(node, needed) for node, _ in value.uses())


def _needed_by(node: ir.Node, needed: Mapping[str, Interval]) -> Interval:
    """What ``node`` can tell apart: a clamp its interval, a selection what its readers can."""
    outputs = hull(needed.get(output.name or "", EVERYTHING) for output in node.outputs)
    bounds = query.clip_bounds(node)
    if bounds is not None:
        return outputs.clamp(*bounds)
    if not query.is_standard(node) or node.op_type not in _SELECTS - {"Resize"}:
        return EVERYTHING
    if node.op_type == "Pad" and not _padding_range(node)[0].within(outputs):
        return EVERYTHING
    return outputs
