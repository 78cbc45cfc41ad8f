"""Models that ONNX Runtime takes, though onnx's checker, shape inference or converter would not.

They are put right here, before anything else reads the graph:

- nodes in any order;
- the standard domain under both of its names;
- a graph without a name;
- an old IR version whose initializers are no inputs;
- negative sizes for unknown ones;
- output padding of a ConvTranspose with SAME (of which onnx infers another size);
- declared shapes that contradict the nodes.
"""

from __future__ import annotations

import heapq

import onnx
from onnx import shape_inference

from subbyte.graph.ops.conv import transposed_pads
from subbyte.graph.protos import graphs, reads

STANDARD_NAMES = ("", "ai.onnx")
"""Names of the domain of standard operators; nodes and imports get the first one."""

LEAST_IR_VERSION = 8


def put_right(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` that the checker takes wherever ONNX Runtime does."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    if made.ir_version:
        made.ir_version = max(made.ir_version, LEAST_IR_VERSION)
    made.graph.name = made.graph.name or "network"
    _name_standard_domain(made)
    for graph in graphs(made.graph):
        _sort(graph)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _forget_negative_sizes(value)
        _resolve_output_padding(graph)
    _correct_shapes(made)
    return made


def _name_standard_domain(model: onnx.ModelProto) -> None:
    """Call the standard domain ""; where it is imported twice in one version, import it once."""
    for graph in graphs(model.graph):
        for node in graph.node:
            if node.domain in STANDARD_NAMES:
                node.domain = ""
    standard = [entry for entry in model.opset_import if entry.domain in STANDARD_NAMES]
    for entry in standard:
        entry.domain = ""
    if len({entry.version for entry in standard}) == 1:
        for entry in standard[1:]:
            model.opset_import.remove(entry)


def _sort(graph: onnx.GraphProto) -> None:
    """Bring nodes in an order in which each reads earlier values; sorted ones keep theirs."""
    made_by = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = [
        {made_by[name] for name in reads(node) if name in made_by} - {place}
        for place, node in enumerate(graph.node)
    ]
    if all(max(before, default=-1) < place for place, before in enumerate(needs)):
        return
    order = _ordered(needs)
    if len(order) == len(needs):
        nodes = [graph.node[place] for place in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _ordered(needs: list[set[int]]) -> list[int]:
    """Places, each after the ones it needs, else in their order; fewer in a cycle."""
    followers: list[list[int]] = [[] for _ in needs]
    for place, before in enumerate(needs):
        for entry in before:
            followers[entry].append(place)
    waiting = [len(before) for before in needs]
    ready = [place for place, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for follower in followers[place]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    return order


def _forget_negative_sizes(value: onnx.ValueInfoProto) -> None:
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_value < 0:
            dim.Clear()


def _resolve_output_padding(graph: onnx.GraphProto) -> None:
    """Write the pads of every ConvTranspose with SAME and output padding out.

    They follow from its attributes: the output has input * stride entries, as without output
    padding, unless the kernel is too small for that.
    """
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, [dim.dim_value for dim in dims])
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = list(node.attribute[0].t.dims)
        elif node.op_type == "ConvTranspose" and len(node.input) > 1:
            _write_pads(node, shapes.get(node.input[1], [])[2:])


def _write_pads(node: onnx.NodeProto, kernel: list[int]) -> None:
    given = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    padding, more = given.get("auto_pad", b""), given.get("output_padding", [])
    kernel = given.get("kernel_shape", kernel)
    if not padding.startswith(b"SAME") or not any(more) or "output_shape" in given or not kernel:
        return
    ones = [1] * len(kernel)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    window = zip(more, kernel, dilations, strict=True)
    natural = [over + (k - 1) * dilation + 1 for over, k, dilation in window]
    pads, _ = transposed_pads(natural, strides, more, padding == b"SAME_UPPER", False)
    kept = [entry for entry in node.attribute if entry.name not in ("auto_pad", "pads")]
    copies = [onnx.AttributeProto.FromString(entry.SerializeToString()) for entry in kept]
    del node.attribute[:]
    node.attribute.extend([*copies, onnx.helper.make_attribute("pads", pads)])


def _correct_shapes(model: onnx.ModelProto) -> None:
    """Drop declared shapes of values that the nodes contradict, and mend such shapes of outputs."""
    graph = model.graph
    free = {dim.dim_param for value in graph.input for dim in value.type.tensor_type.shape.dim}
    inferred = _inferred_types(model)
    kept = [
        value
        for value in graph.value_info
        if not _contradicts(value.type, inferred.get(value.name), free)
    ]
    if len(kept) < len(graph.value_info):
        copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
        del graph.value_info[:]
        graph.value_info.extend(copies)
    inputs = {value.name: value.type for value in graph.input}
    for value in graph.output:
        # An input that is an output has one type: the input's.
        known = inputs.get(value.name, inferred.get(value.name))
        if known is not None and (value.name in inputs or _contradicts(value.type, known, free)):
            value.type.CopyFrom(known)


def free_contradicted_sizes(model: onnx.ModelProto) -> None:
    """Free the sizes of outputs that onnx infers otherwise than runtimes compute them.

    With ``ceil_mode``, a window that would start in the end padding counts for onnx alone.
    """
    inferred = _inferred_types(model)
    for value in model.graph.output:
        declared = value.type.tensor_type.shape.dim
        known = inferred.get(value.name, value.type).tensor_type.shape.dim
        for dim, real in zip(declared, known, strict=False):
            if dim.dim_value and real.dim_value and dim.dim_value != real.dim_value:
                dim.Clear()


def _inferred_types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Types that follow from inputs and constants alone, by the name of the value."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.ClearField("type")
    try:
        found = shape_inference.infer_shapes(bare, data_prop=True).graph
    except (RuntimeError, ValueError):
        # Broken in a way that the checks to come have a name for.
        return {}
    return {value.name: value.type for value in (*found.value_info, *found.output)}


def _contradicts(declared: onnx.TypeProto, known: onnx.TypeProto | None, free: set[str]) -> bool:
    """Whether a declared tensor type is another one than the known type.

    ``free``: sizes that are free in an input. A number in their place is wrong too.
    """
    if known is None or not known.HasField("tensor_type") or not declared.HasField("tensor_type"):
        return False
    one, other = declared.tensor_type, known.tensor_type
    if other.elem_type and one.elem_type not in (0, other.elem_type):
        return True
    if not one.HasField("shape") or not other.HasField("shape"):
        return False
    if len(one.shape.dim) != len(other.shape.dim):
        return True
    return any(
        dim.HasField("dim_value")
        and (
            (real.HasField("dim_value") and real.dim_value != dim.dim_value)
            or (real.dim_param and real.dim_param in free)
        )
        for dim, real in zip(one.shape.dim, other.shape.dim, strict=True)
    )
