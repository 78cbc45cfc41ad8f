"""How many multiplications and additions a network takes with ternary factors, and without."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper

from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.unpacked import gives_weight
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.ternary import cost, form
from subbyte.report.stored import StoredModel

_PACKED = ("left", "d", "right", "scale")


def count_operations(model: StoredModel, where: Path) -> dict[str, Any] | None:
    """Operations for one sample, before and after; None without ternary layers.

    Returns:
        ``layers``: a row per ternary node (name, rank, positions, and the four counts
            ``multiplications``, ``additions``, ``dense_multiplications``, ``dense_additions``).
            ``total``: the same counts over all coded layers. Layers of other methods count as dense
            on both sides. A layer whose output size the file leaves open is counted for one
            position, ``positions`` being None.
    """
    nodes = list(coded_nodes(model.proto))
    if not any(node.op_type.startswith("Ternary") for node, _ in nodes):
        return None
    shapes = _value_shapes(model.proto)
    tensors = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    rows, before, after = [], cost.Operations(0, 0), cost.Operations(0, 0)
    for node, attributes in nodes:
        outputs, taps, inputs = attributes["weight_shape"]
        shape = WeightShape(outputs, taps, inputs, int(attributes.get("group", 1)))
        positions = _positions(node, shapes)
        dense = cost.dense(shape).times(positions or 1)
        now = dense
        if node.op_type.startswith("Ternary"):
            left, _, right = form.factors(_coded(node, attributes, shape, tensors, where))
            now = cost.factored(left, right).times(positions or 1)
            rank = {"name": node.name, "rank": left.shape[2], "positions": positions}
            rows.append(rank | _counts(now, dense))
        before, after = before + dense, after + now
    return {"layers": rows, "total": _counts(after, before)}


def _counts(now: cost.Operations, dense: cost.Operations) -> dict[str, int]:
    return {
        "multiplications": now.multiplications,
        "additions": now.additions,
        "dense_multiplications": dense.multiplications,
        "dense_additions": dense.additions,
    }


def coded_nodes(proto: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, dict[str, Any]]]:
    """The nodes of coded layers, with their attributes; nodes that give others weights are left
    out."""
    for node in proto.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        layer = node.domain == DOMAIN and not gives_weight(node.op_type)
        if layer and "weight_shape" in attributes:
            yield node, attributes


def _coded(
    node: onnx.NodeProto,
    attributes: Mapping[str, Any],
    shape: WeightShape,
    tensors: Mapping[str, onnx.TensorProto],
    where: Path,
) -> CodedWeight:
    """The packed weight; its arrays stand behind x in the node's inputs."""
    names = node.input[1 : 1 + len(_PACKED)]
    arrays = [numpy_helper.to_array(tensors[name], str(where.parent)) for name in names]
    inputs = dict(zip(_PACKED, arrays, strict=True))
    return CodedWeight("ternary", "", shape, inputs, dict(attributes))


def _value_shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Sizes by value name as far as shape inference finds them; 0 where it does not."""
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }


def _positions(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int | None:
    """Pixels or rows of one sample at which the layer's matrix is applied."""
    transposed = "ConvTranspose" in node.op_type
    sizes = shapes.get(node.input[0] if transposed else node.output[0], [])
    if "Conv" in node.op_type:
        sizes = sizes[2:] if node.op_type.endswith("Float") else sizes[1:-1]
    elif "LinearLeft" in node.op_type:
        sizes = [*sizes[1:-2], *sizes[-1:]]
    else:
        sizes = sizes[1:-1]
    return math.prod(sizes) if all(sizes) and node.output[0] in shapes else None
