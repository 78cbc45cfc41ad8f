"""Control flow: an If that is decided is replaced by its branch; other graphs are put in order.

In order means three things. Every value has a name of its own. A graph gives out only values that
it makes. Large constants (`HOISTED` entries and more) are initializers of the main graph, where
they can be coded like any other weight.
"""

from __future__ import annotations

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.nested import discard, nested_graphs
from subbyte.graph.passes.editor import Editor

HOISTED = 1024
"""Entries from which on a constant of a subgraph moves to the main graph."""


def own_outputs(model: ir.Model) -> None:
    """An Identity before every output of a subgraph that no computing node of it makes.

    ONNX Runtime refuses a graph that gives out a value from outside.
    """
    for graph in list(nested_graphs(model.graph)):
        for place, value in enumerate(graph.outputs):
            producer = value.producer()
            made = producer is not None and producer.graph is graph
            if made and producer is not None and producer.op_type != "Constant":
                continue
            if value in graph.inputs:
                continue
            node = ir.node("Identity", [value], name=f"{value.name}.given")
            node.outputs[0].name = f"{value.name}.given"
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[place] = node.outputs[0]


def settle_subgraphs(model: ir.Model, hoisted: int = HOISTED) -> None:
    """Names that are unique in the whole model; large constants in the main graph, unused ones
    nowhere."""
    editor = Editor(model.graph, below=False)
    names = {node.name for node in model.graph}
    for graph in nested_graphs(model.graph):
        _rename(graph, editor, names)
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or value in graph.inputs:
                continue
            if not value.uses() and not value.is_graph_output():
                del graph.initializers[name]
            elif tensor.size >= hoisted:
                del graph.initializers[name]
                model.graph.register_initializer(value)


def _rename(graph: ir.Graph, editor: Editor, names: set[str | None]) -> None:
    for value in [*graph.inputs, *graph.initializers.values()]:
        value.name = editor.unique(value.name or "v")
    for node in graph:
        for value in node.outputs:
            if value.name:
                value.name = editor.unique(value.name)
        base, count = node.name or node.op_type, 1
        node.name = base
        while node.name in names:
            count += 1
            node.name = f"{base}_{count}"
        names.add(node.name)


def fold_ifs(model: ir.Model) -> bool:
    """Put the branch of every If with a constant condition in its place; whether there was one."""
    found = False
    for graph in (model.graph, *list(nested_graphs(model.graph))):
        for node in list(graph):
            if node.domain != "" or node.op_type != "If":
                continue
            condition = query.constant(node.inputs[0])
            if condition is not None and condition.size == 1:
                name = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
                _inline(graph, node, node.attributes[name].as_graph())
                found = True
    return found


def _inline(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    """Move the nodes and constants of ``branch`` before ``node``, and take that out."""
    results = list(branch.outputs)
    branch.outputs.clear()
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        graph.register_initializer(value)
    moved = list(branch)
    branch.remove(moved)
    graph.insert_before(node, moved)
    given = [ir.node("Identity", [value], name=f"{node.name}.given") for value in results]
    for made, old, value in zip(given, node.outputs, results, strict=False):
        made.outputs[0].type = value.type or old.type
        made.outputs[0].shape = value.shape if value.shape is not None else old.shape
    graph.insert_before(node, given)
    news = [made.outputs[0] for made in given[: len(node.outputs)]]
    for old, new in zip(node.outputs, news, strict=True):
        new.name = old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = f"{old.name}.folded"
    discard(graph, node)


def remove_unused_control(model: ir.Model) -> None:
    """Remove nodes whose outputs nothing reads, from the last on, and such constants of subgraphs.

    A removed If or Loop no longer counts as a reader of the values that its graphs read.
    """
    for node in reversed(list(model.graph)):
        used = any(value.uses() or value.is_graph_output() for value in node.outputs)
        if not used:
            discard(model.graph, node)
    for graph in nested_graphs(model.graph):
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and value not in graph.inputs:
                del graph.initializers[name]
