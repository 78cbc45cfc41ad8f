"""What every layer of a file takes, and what the rest of the file is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subbyte.report.layers import StoredLayer, find_layers
from subbyte.report.operations import count_operations
from subbyte.report.planes import count_planes
from subbyte.report.stored import StoredModel, read_stored


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Account for every byte of an ONNX file, compressed or not.

    Returns:
        ``file_bytes`` (external data included), ``weight_count`` (weights of conv and linear
        layers), ``bits_per_weight`` (8 * bytes of all layers' weights / weight_count: codes,
        codebooks, signs, gains, scales, padding), ``layers`` (one row per stored weight:
        name, op, method, shape, bits_per_weight, bytes, activations, reason) and ``parts``:
        bytes of weights, biases, other tensors and graph, which add up to file_bytes.
        ``operations``: `count_operations`, None without ternary layers; ``planes``:
        `count_planes`, None without composite layers.

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
    count = sum(math.prod(layer.shape) for layer in layers)
    return {
        "model": os.fspath(path),
        "file_bytes": model.file_bytes,
        "weight_count": count,
        "bits_per_weight": 8 * parts["weights"] / count if count else 0.0,
        "layers": [_row(model, layer) for layer in layers],
        "parts": parts,
        "operations": count_operations(model, Path(path)),
        "planes": count_planes(model, Path(path)),
    }


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


def _nbytes(model: StoredModel, names: set[str]) -> int:
    return sum(model.constants[name].nbytes for name in names)
