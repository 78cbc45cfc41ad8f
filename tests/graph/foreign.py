"""Networks with operators that our table does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tests import tiny

Array = NDArray[Any]
RNG = np.random.default_rng(0)
MICROSOFT = "com.microsoft"


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


X = normal(3, 8)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Named after its first output; ``_`` is an input or output left out."""
    names = [["" if name == "_" else name for name in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op_type, *names, names[1][0], **attributes)


def between(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array] | None = None,
    batch: int | str = "N",
    width: int = 8,
    domain: str = MICROSOFT,
) -> onnx.ModelProto:
    """x [N, 8] -> linear -> a -> ``nodes`` -> b [N, width] -> linear -> y [N, 4]."""
    everything = [node("Gemm", "x w1", "a"), *nodes, node("Gemm", "b w2", "y")]
    weights = {"w1": normal(8, 8) / 3, "w2": normal(width, 4) / 3, **(constants or {})}
    shapes = {"x": [batch, 8]}
    return tiny.build(everything, weights, shapes, {"y": [batch, 4]}, extra_domain=domain)


DISTANCE = node("CDist", "a other", "b", domain=MICROSOFT, metric="sqeuclidean")


def one_layer_behind() -> onnx.ModelProto:
    """A linear layer whose only reader is an operator of ONNX Runtime's."""
    nodes = [
        node("Gemm", "x w1", "a"),
        node("CDist", "a other", "y", domain=MICROSOFT, metric="euclidean"),
    ]
    constants = {"w1": normal(8, 8), "other": normal(4, 8)}
    return tiny.build(nodes, constants, {"x": ["N", 8]}, {"y": ["N", 4]}, extra_domain=MICROSOFT)
