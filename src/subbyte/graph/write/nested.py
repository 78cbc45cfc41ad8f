"""Writing the graphs that a node holds: the values that they read have other names in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
import onnx_ir as ir

from subbyte.graph.protos import graphs


def nested_attributes(
    node: ir.Node, outer: Mapping[str, str], fresh: Callable[[], str]
) -> list[onnx.AttributeProto]:
    """The attributes of ``node`` that are graphs, with the names of the file.

    ``outer``: of the values that they read from outside; their own get ``fresh`` ones. Names in
    the prepared graph are unique (`subbyte.graph.passes.lowering.control_flow`): none hides
    another.
    """
    names = dict(outer)

    def renamed(name: str) -> str:
        if name and name not in names:
            names[name] = fresh()
        return names.get(name, "")

    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    made = [
        ir.serde.serialize_attribute(attribute)
        for attribute in node.attributes.values()
        if attribute.type in kinds
    ]
    for attribute in made:
        for top in (attribute.g, *attribute.graphs):
            for graph in graphs(top):
                _rename(graph, renamed)
    return made


def _rename(graph: onnx.GraphProto, renamed: Callable[[str], str]) -> None:
    # Types and shapes are inferred again: the source's may hold no more.
    del graph.value_info[:]
    del graph.quantization_annotation[:]
    _drop_notes(graph)
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = renamed(value.name)
    for tensor in graph.sparse_initializer:
        tensor.values.name = renamed(tensor.values.name)
    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]


def _drop_notes(graph: onnx.GraphProto) -> None:
    """Remove exporters' notes on nodes and values: stack traces can outweigh the weights."""
    for entry in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        entry.ClearField("doc_string")
        entry.ClearField("metadata_props")
