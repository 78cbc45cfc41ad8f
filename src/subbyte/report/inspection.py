"""The bytes of every layer of a file, and of the rest of the file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from subbyte.graph.passes.find_unpacked import is_weight_type, read_by
from subbyte.graph.passes.share_weights import LEAST_COUNT
from subbyte.option_types import checked
from subbyte.report.coded_nodes import StoredLayer
from subbyte.report.layers import find_layers
from subbyte.report.operations import count_operations
from subbyte.report.planes import count_planes
from subbyte.report.stored import StoredModel, read_stored, reading_operators


@dataclass(frozen=True)
class Inspection:
    """The bytes of a file. Rows are JSON objects.

    - ``model``: the file; ``file_bytes``: its size, external data included;
    - ``weight_count``: weights of all layers, and numbers in ``uncoded``;
    - ``bits_per_weight``: 8 * bytes of all these / weight_count. The bytes are codes, codebooks,
      signs, gains, scales, padding, floats;
    - ``layers``: one row per stored weight: name, op, method, shape, bits_per_weight, bytes,
      activations, reason;
    - ``uncoded``: constants of 1,024 numbers and more that are no layer's, floats or integers of 16
      bits and fewer: name, count, bytes, type, reason;
    - ``parts``: bytes of weights, biases, other tensors and graph, which add up to file_bytes;
    - ``operations``: `count_operations`, None without ternary layers;
    - ``planes``: `count_planes`, None without composite layers.
    """

    model: str
    file_bytes: int
    weight_count: int
    bits_per_weight: float
    layers: Sequence[Mapping[str, Any]]
    uncoded: Sequence[Mapping[str, Any]]
    parts: Mapping[str, int]
    operations: Mapping[str, Any] | None
    planes: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``subbyte inspect --json`` writes them."""
        return dict(vars(self))


@checked
def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Account for every byte of an ONNX file, compressed or not.

    Raises:
        ModelFileError: unreadable, truncated or not ONNX.
    """
    model = read_stored(Path(path))
    layers = find_layers(model, str(path))
    weights = set().union(*(layer.stored for layer in layers))
    biases = {layer.bias for layer in layers if layer.bias in model.constants} - weights
    in_nodes = sum(layer.attribute_bytes for layer in layers)
    parts = {
        "weights": _nbytes(model, weights) + in_nodes,
        "biases": _nbytes(model, biases),
        "other": _nbytes(model, set(model.constants) - weights - biases),
        "graph": model.graph_bytes - in_nodes,
    }
    kept = _uncoded(model, weights | biases)
    count = sum(math.prod(layer.shape) for layer in layers)
    total, taken = count + sum(row["count"] for row in kept), parts["weights"]
    taken += sum(row["bytes"] for row in kept)
    return Inspection(
        model=os.fspath(path),
        file_bytes=model.file_bytes,
        weight_count=total,
        bits_per_weight=8 * taken / total if total else 0.0,
        layers=[_row(model, layer) for layer in layers],
        uncoded=kept,
        parts=parts,
        operations=count_operations(model, Path(path)),
        planes=count_planes(model, Path(path)),
    )


def _row(model: StoredModel, layer: StoredLayer) -> Mapping[str, Any]:
    size = _nbytes(model, set(layer.stored)) + layer.attribute_bytes
    return {
        "name": layer.name,
        "op": layer.op,
        "method": layer.method,
        "shape": list(layer.shape),
        "bits_per_weight": 8 * size / math.prod(layer.shape),
        "bytes": size,
        "activations": layer.activations,
        "reason": layer.reason,
    }


def _uncoded(model: StoredModel, others: set[str]) -> list[dict[str, Any]]:
    found = []
    for name, constant in model.constants.items():
        count = math.prod(constant.shape)
        kind = ir.DataType(constant.element_type)
        if name in others or count < LEAST_COUNT or not is_weight_type(kind):
            continue
        row = {"name": name, "count": count, "bytes": constant.nbytes, "type": kind.name}
        found.append(row | {"reason": read_by(reading_operators(model.proto.graph, name))})
    return found


def _nbytes(model: StoredModel, names: set[str]) -> int:
    return sum(model.constants[name].nbytes for name in names)
