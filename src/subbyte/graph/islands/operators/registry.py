"""The table of operators that compute on uint8 between the layers of an island.

Adding an operator is one decorated function, its row (docs/add-an-island-operator.md)::

    @operator("MaxPool", row=IslandOperator(supported=_max_pool, interval=of_input, ...))
    def max_pool(emitter: Emitter, node: ir.Node, kind: Kind) -> None:
        ...

It writes the node into the file: standard operators, or one node of domain ``subbyte`` with
its body in standard operators, which the native library may compute by its own kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.emitter import Emitter, Kind
from subbyte.graph.islands.intervals import EVERYTHING, Interval

Supported = Callable[[ir.Node], bool]
Write = Callable[[Emitter, ir.Node, Kind], None]
Shares = Literal["none", "input", "joined"]


def never(node: ir.Node) -> bool:
    """False, for an operator that has no form of its own on uint8."""
    return False


def one_operand(node: ir.Node) -> bool:
    """Whether one operand of an elementwise node moves, and no constant beside it widens it."""
    moving = query.data_inputs(node)
    rank = query.rank(node.outputs[0])
    return len(moving) == 1 and rank is not None and query.rank(moving[0]) == rank


def anything(node: ir.Node, inputs: Sequence[Interval]) -> Interval:
    """The range of an output of which nothing is known."""
    return EVERYTHING


def everything(node: ir.Node, outputs: Interval) -> Interval:
    """The range that an operator needs of its inputs where any difference may matter."""
    return EVERYTHING


@dataclass(frozen=True)
class IslandOperator:
    """A row of the table.

    ``write``: writes a node that is ``supported`` on values of a kind, in the layout in which its
    input exists; None where the operator has no form of its own.
    ``supported``: whether ``write`` can; ranks and types have been asked about by then.
    ``elementwise``: each entry of the output is computed from entries in the same place, in
    whichever layout.
    ``pointwise``: whether an elementwise node needs no ``write``, as one operand alone moves: it is
    dequantized, computed in float and quantized, and between two such nodes nothing is rounded.
    ``interval``: the range of the outputs, from the ranges of all inputs in order.
    ``needed``: the range outside which the node tells no two values of its inputs apart, from the
    range outside which the readers of its outputs do not.
    ``shares``: the scale and zero point of the output. ``none``: its own. ``input``: the first
    input's, as no number changes. ``joined``: one pair with all inputs that nothing else reads.
    ``moves``: ``write`` only moves entries, and so takes floats too.
    ``channels_last``: writes the node on floats with the channels last, where the standard operator
    cannot or is slow; false if it wrote nothing.
    """

    write: Write | None = None
    supported: Supported = never
    elementwise: bool = False
    pointwise: Supported = one_operand
    interval: Callable[[ir.Node, Sequence[Interval]], Interval] = anything
    needed: Callable[[ir.Node, Interval], Interval] = everything
    shares: Shares = "none"
    moves: bool = False
    channels_last: Callable[[Emitter, ir.Node, str], bool] | None = None


OPERATORS: dict[str, IslandOperator] = {}


def register(*op_types: str, row: IslandOperator) -> None:
    """Give standard operators their row."""
    for op_type in op_types:
        if op_type in OPERATORS:
            raise KeyError(f"operator {op_type} is registered twice")
        OPERATORS[op_type] = row


def operator(*op_types: str, row: IslandOperator) -> Callable[[Write], Write]:
    """Register the decorated function as ``write`` of ``row``."""

    def add(write: Write) -> Write:
        register(*op_types, row=replace(row, write=write))
        return write

    return add


def row_of(node: ir.Node) -> IslandOperator | None:
    """The row of a node's operator; None where there is none."""
    return OPERATORS.get(node.op_type) if query.is_standard(node) else None


def is_candidate(node: ir.Node) -> bool:
    """Whether ``node`` can take and give uint8 values."""
    row = row_of(node)
    if row is None:
        return False
    moving = query.data_inputs(node)
    if not moving or any(query.rank(value) is None for value in [*moving, *node.outputs]):
        return False
    if not all(value.dtype == ir.DataType.FLOAT for value in node.outputs):
        return False
    return is_pointwise(node) or row.supported(node)


def is_pointwise(node: ir.Node) -> bool:
    """Whether ``node`` maps each entry by itself: one moving operand, constants beside it.

    ReLU and Clip are not among these: on uint8 values they need no arithmetic.
    """
    row = row_of(node)
    return row is not None and row.elementwise and row.pointwise(node)


def is_arithmetic(node: ir.Node) -> bool:
    """Whether ``node`` computes entry by entry with numbers, rather than select or move them."""
    row = row_of(node)
    return row is not None and row.elementwise and row.shares == "none"
