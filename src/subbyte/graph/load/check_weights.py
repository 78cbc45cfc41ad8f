"""Checks on the weights of a model."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from subbyte.errors import WeightError

WEIGHTED = frozenset(
    {
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "GRU",
        "Gather",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LSTM",
        "LayerNormalization",
        "Linear",
        "MatMul",
        "PRelu",
        "RMSNormalization",
        "RNN",
        "Transpose",
    }
)
"""Operators whose constants are weights. Elsewhere, as in masks, an Inf has its meaning."""


def check_finite(model: ir.Model) -> None:
    """Raise `WeightError` for NaN in a float initializer, and for Inf in one used as a weight."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point():
            continue
        array = tensor.numpy()
        if array.dtype.itemsize == 1 or np.isfinite(array).all():
            continue
        users = [use.node for use in value.uses()]
        weighted = [node for node in users if node.op_type in WEIGHTED]
        if np.isnan(array).any() or weighted:
            node = next(iter(weighted or users), None)
            bad = int(array.size - np.isfinite(array).sum())
            raise WeightError(
                "weights are not finite",
                where=f"initializer {value.name}" + (f", node {node.name}" if node else ""),
                expected="finite numbers",
                got=f"{bad} NaN or Inf of {array.size}",
            )
