"""Functions of one value: runs of elementwise nodes that read one carried value alone.

x * sigmoid(x), hard-swish in its long form, an Erf chain: on uint8 each is a table of 256
codes. Only the argument and the result are rounded, nothing in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.islands.operators import row_of


@dataclass(frozen=True)
class UnaryFunction:
    """``nodes``, in order, compute the last one's output from ``argument`` and single numbers."""

    argument: ir.Value
    nodes: tuple[ir.Node, ...]


def find_functions(
    nodes: Sequence[ir.Node], floats: Collection[str]
) -> tuple[dict[str, UnaryFunction], frozenset[str]]:
    """The functions among ``nodes`` of islands, by the value that each gives, and the values
    that are computed within functions only.

    ``floats``: the values between these nodes that are not rounded, and so are no arguments. A
    clamp after a value that others read stays a clamp: on codes it costs nothing.
    """
    rounded: set[str] = set()
    while True:
        known = _functions(nodes, floats, rounded)
        ends = {name for name, function in known.items() if _is_read_elsewhere(function, known)}
        if ends <= rounded:
            given = {name: function for name, function in known.items() if name in ends}
            return given, frozenset(known.keys() - ends)
        rounded |= ends


def _functions(
    nodes: Sequence[ir.Node], floats: Collection[str], rounded: Collection[str]
) -> dict[str, UnaryFunction]:
    """The function that gives each output; ``rounded`` values are arguments of later functions."""
    known: dict[str, UnaryFunction] = {}
    for node in nodes:
        if not _is_elementwise(node):
            continue
        moving = query.data_inputs(node)
        inner = [known[v.name or ""] for v in moving if v.name in known and v.name not in rounded]
        arguments = {function.argument for function in inner}
        arguments |= {v for v in moving if v.name not in known or v.name in rounded}
        if len(arguments) != 1 or (_clamps(node) and not inner):
            continue
        (argument,) = arguments
        if argument.name in floats or query.rank(argument) != query.rank(node.outputs[0]):
            continue
        before = dict.fromkeys(each for function in inner for each in function.nodes)
        known[_output(node)] = UnaryFunction(argument, (*before, node))
    return known


def _output(node: ir.Node) -> str:
    return node.outputs[0].name or ""


def _is_elementwise(node: ir.Node) -> bool:
    row = row_of(node)
    if row is None or not row.elementwise or len(node.outputs) != 1:
        return False
    constants = [query.constant(value) for value in node.inputs if query.is_constant(value)]
    return all(array is not None and array.size == 1 for array in constants)


def _clamps(node: ir.Node) -> bool:
    row = row_of(node)
    return row is not None and row.shares == "input"


def _is_read_elsewhere(function: UnaryFunction, known: Mapping[str, UnaryFunction]) -> bool:
    value = function.nodes[-1].outputs[0]
    return value.is_graph_output() or not all(
        _output(reader) in known and known[_output(reader)].argument is function.argument
        for reader in value.consumers()
    )
