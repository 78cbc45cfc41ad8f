"""Conditions and range rules that many operators share."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.islands.intervals import Interval

ZERO = Interval(0.0, 0.0)


def is_map(node: ir.Node) -> bool:
    """Whether the first input is a feature map [N, C, H, W]."""
    return query.rank(node.inputs[0]) == 4


def constant_parameters(node: ir.Node) -> bool:
    """Whether the first input alone moves: sizes, axes and places are known."""
    rest = [value for value in node.inputs[1:] if value is not None]
    return all(query.is_constant(value) for value in rest)


def of_input(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    """The range of an operator that selects, moves or averages entries of its first input."""
    return inputs[0]


def of_output(node: ir.Node, outputs: Interval) -> Interval:
    """The needed range of an operator that selects: no more than its output's readers need."""
    return outputs
