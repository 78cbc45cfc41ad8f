"""How many multiplications and additions a network takes with factors, and without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from subbyte.methods import METHODS
from subbyte.methods.operations import Operations, dense
from subbyte.report.coded import packed_weights, settings
from subbyte.report.stored import StoredModel


def count_operations(model: StoredModel, where: Path) -> dict[str, Any] | None:
    """Operations for one sample, before and after; None without ternary layers.

    Returns:
        ``layers``: a row per ternary node (name, rank, positions, and the four counts
            ``multiplications``, ``additions``, ``dense_multiplications``, ``dense_additions``).
            ``total``: the same counts over all coded layers. Layers of other methods count as dense
            on both sides. A layer whose output size the file leaves open is counted for one
            position, ``positions`` being None.
    """
    packed = packed_weights(model, where)
    nodes = list(packed.layers())
    if not any(METHODS[node.method].operations for node in nodes):
        return None
    shapes = _value_shapes(model.proto)
    rows, before, after = [], Operations(0, 0), Operations(0, 0)
    for node in nodes:
        count = METHODS[node.method].operations
        positions = _positions(node.proto, shapes)
        known = dense(node.shape).times(positions or 1)
        now = known
        if count is not None:
            weight = packed.weight(node)
            now = count(weight).times(positions or 1)
            row = {"name": node.name, **settings(weight), "positions": positions}
            rows.append(row | _counts(now, known))
        before, after = before + known, after + now
    return {"layers": rows, "total": _counts(after, before)}


def _counts(now: Operations, before: Operations) -> dict[str, int]:
    return {
        "multiplications": now.multiplications,
        "additions": now.additions,
        "dense_multiplications": before.multiplications,
        "dense_additions": before.additions,
    }


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
