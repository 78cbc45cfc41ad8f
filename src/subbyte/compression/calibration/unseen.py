"""Weights of which no sample tells anything: weights in the branches of an If on data."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from subbyte.graph.nested import captured
from subbyte.graph.network import Network
from subbyte.graph.query import is_standard


@dataclass(frozen=True)
class Branches:
    """An If ``node``, the coded weights in its branches, and the inputs of the network that its
    condition depends on."""

    node: str
    weights: tuple[str, ...]
    inputs: tuple[str, ...]

    def __str__(self) -> str:
        inputs = ", ".join(self.inputs)
        ways = " ".join(f"`set_inputs={{'{name}': VALUE}}`" for name in self.inputs)
        return (
            f"{len(self.weights)} weights in the branches of {self.node} were coded without "
            f"samples, as the branch depends on {inputs}: where that is the same for every "
            f"sample, {ways} `fold_inputs` takes one branch, and codes it better"
        )


def unseen(network: Network) -> tuple[Branches, ...]:
    """The Ifs whose branches hold coded weights, and whose conditions depend on inputs."""
    weights: dict[ir.Node, list[str]] = {}
    for entry in network.unpacked:
        if entry.place is None and is_standard(entry.node, "If"):
            weights.setdefault(entry.node, []).append(entry.name)
    found = []
    for node, names in weights.items():
        inputs = _inputs_of(node.inputs[0])
        if inputs:
            found.append(Branches(str(node.name), tuple(names), inputs))
    return tuple(found)


def _inputs_of(value: ir.Value | None) -> tuple[str, ...]:
    """The names of the graph inputs that ``value`` is computed from."""
    waiting, seen = [value], set[ir.Value]()
    inputs: dict[str, None] = {}
    while waiting:
        current = waiting.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        if current.is_graph_input():
            inputs[str(current.name)] = None
        elif (maker := current.producer()) is not None:
            waiting += [*maker.inputs, *captured(maker)]
    return tuple(inputs)
