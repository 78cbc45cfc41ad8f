"""Writing a prepared network with its coded weights as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper

from subbyte.errors import OutputError, ProofError, reason
from subbyte.graph import query
from subbyte.graph.emitter import Emitter
from subbyte.graph.functions.body import DOMAIN, DOMAIN_VERSION, FORMAT_KEY, FORMAT_VERSION
from subbyte.graph.islands.plan import IslandPlan, float_plan, plan_islands
from subbyte.graph.load.accept import free_contradicted_sizes
from subbyte.graph.load.checker import check_model
from subbyte.graph.network import Network
from subbyte.graph.protos import graphs
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.layers import LayerWriter
from subbyte.graph.write.nodes import NodeWriter
from subbyte.graph.write.opset import output_opset
from subbyte.graph.write.unary import UnaryWriter
from subbyte.graph.write.unpacked import UnpackedWriter
from subbyte.methods import CodedWeight

# The limit of one protobuf message, less room for names and nodes.
MAX_BYTES = 2**31 - 2**24

_LEAST_IR_VERSION = 8


def write_network(
    network: Network,
    coded: Mapping[str, CodedWeight],
    biases: Mapping[str, NDArray[np.float32]] | None = None,
    plan: IslandPlan | None = None,
    activations: Mapping[str, QuantParams] | None = None,
    float_reason: str = "activations kept float",
    table_shifts: Mapping[str, int] | None = None,
    max_bytes: int = MAX_BYTES,
) -> onnx.ModelProto:
    """Write ``network`` with its coded weights as one ONNX model.

    ``coded``: by weight initializer; layers without an entry are written as standard float nodes.
    ``biases``: float32 [O] by layer name, in place of the network's own. ``activations``:
    `QuantParams` by the name of a group of ``plan``, or of any value of that group; ``plan``
    defaults to `plan_islands`. Without ``activations`` every layer keeps floats, for
    ``float_reason``. ``table_shifts``: by layer name, a hint for kernels (docs/format.md).
    ``max_bytes``: of all weights together.

    Raises:
        OutputError: the weights exceed the limit of one file.
    """
    if activations is None:
        plan, params = float_plan(network, float_reason), {}
    else:
        plan = plan or plan_islands(network, coded)
        params = _params_by_value(plan, activations)
    _check_size(network, coded, max_bytes)
    graph = network.model.graph
    opset = output_opset(_other_nodes(network, coded), network.opset)
    emitter = Emitter(graph, params, plan.absorbed, opset)
    layers = LayerWriter(emitter, coded, biases or {}, table_shifts or {})
    tables = UnpackedWriter(network, layers)
    nodes, functions = NodeWriter(emitter), UnaryWriter(emitter, network.opset)
    _write_nodes(network, plan, layers, tables, nodes, functions)
    model = _assemble(network, emitter, opset)
    _check_written(model, network.name)
    return model


def _check_written(model: onnx.ModelProto, name: str) -> None:
    """Raise `ProofError` unless all shapes and types agree.

    A node whose attributes do not fit its input comes from the network as it was read: nothing
    before has inferred shapes as strictly.
    """
    try:
        try:
            check_model(model, full=True)
        except onnx.shape_inference.InferenceError:
            free_contradicted_sizes(model)
            check_model(model, full=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ProofError(
            "the network as written is not valid",
            where=name,
            expected="a network that ONNX Runtime opens; if it opens this one, please report it",
            got=reason(error),
        ) from error


def _params_by_value(
    plan: IslandPlan, activations: Mapping[str, QuantParams]
) -> dict[str, QuantParams]:
    params: dict[str, QuantParams] = {}
    for group in plan.groups:
        names = [group.name, *(value.name for value in group.values)]
        given = next((name for name in names if name in activations), None)
        if given is None:
            raise ValueError(f"activations: no quantization for the group of {group.name!r}")
        params |= {value.name: activations[given] for value in group.values}
    return params


def _check_size(network: Network, coded: Mapping[str, CodedWeight], max_bytes: int) -> None:
    stored = sum(weight.nbytes for weight in coded.values())
    for name, value in network.model.graph.initializers.items():
        if name not in coded and value.const_value is not None:
            stored += value.const_value.nbytes
    if stored > max_bytes:
        raise OutputError(
            "compressed network too large for one ONNX file",
            where=network.name,
            expected=f"at most {max_bytes} bytes of weights",
            got=stored,
        )


def _other_nodes(network: Network, coded: Mapping[str, CodedWeight]) -> list[ir.Node]:
    """The nodes that are copied as they are, more or less."""
    layers = {layer.output for layer in network.layers if layer.weight in coded}
    return [node for node in network.model.graph if node.outputs[0].name not in layers]


def _write_nodes(
    network: Network,
    plan: IslandPlan,
    layers: LayerWriter,
    tables: UnpackedWriter,
    nodes: NodeWriter,
    functions: UnaryWriter,
) -> None:
    by_output = {layer.output: layer for layer in network.layers}
    by_name = {layer.name: layer for layer in network.layers}
    taking = set(plan.fused.values())
    for node in network.model.graph:
        name = node.outputs[0].name or ""
        layer = by_output.get(name)
        comes_later = layer is not None and layer.name in taking
        if name in plan.absorbed or name in plan.within or comes_later:
            continue
        if name in plan.fused and name in plan.functions:
            layers.write_unary(by_name[plan.fused[name]], functions.store(plan.functions[name]))
        elif name in plan.fused:
            layers.write_sum(by_name[plan.fused[name]], node)
        elif layer is not None and layer.weight in layers.coded:
            chosen = plan.layers[layer.name]
            layers.write(layer, chosen.form, chosen.reason)
        elif layer is not None:
            layers.write_uncoded(layer)
        elif name in plan.functions:
            functions.write(plan.functions[name])
        elif name in plan.nodes:
            nodes.write_uint8(node)
        elif not query.is_constant(node.outputs[0]) and not tables.write(node):
            nodes.write_float(node)


def _assemble(network: Network, emitter: Emitter, opset: int) -> onnx.ModelProto:
    graph = network.model.graph
    for value in graph.outputs:
        stored = emitter.get(value)
        if stored != value.name:
            emitter.node("Identity", [stored], [value.name or ""])
    made = helper.make_graph(
        emitter.nodes,
        graph.name or "network",
        [ir.serde.serialize_value(value) for value in graph.inputs],
        [ir.serde.serialize_value(value) for value in graph.outputs],
        doc_string=graph.doc_string or None,
    )
    nodes = [node for each in graphs(made) for node in each.node]
    used = {name for node in nodes for name in node.input}
    made.initializer.extend(t for name, t in emitter.initializers.items() if name in used)
    imports = [helper.make_opsetid("", opset)]
    if emitter.functions:
        imports.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    domains = {node.domain for node in nodes} - {"", DOMAIN}
    imports += [
        helper.make_opsetid(domain, version)
        for domain, version in network.model.opset_imports.items()
        if domain in domains
    ]
    model = helper.make_model(
        made,
        opset_imports=imports,
        functions=list(emitter.functions.values()),
        ir_version=max(_LEAST_IR_VERSION, helper.find_min_ir_version_for(imports[:1])),
        producer_name="subbyte",
        doc_string=network.model.doc_string or "",
    )
    metadata = {**network.model.metadata_props, FORMAT_KEY: FORMAT_VERSION}
    helper.set_model_props(model, {key: str(text) for key, text in metadata.items()})
    return model
