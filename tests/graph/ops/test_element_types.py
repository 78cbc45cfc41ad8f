from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from tests.graph.one_node import check

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
SMALL = np.random.default_rng(0).integers(-3, 3, (2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("channels", [None, 3])
def test_quantize_and_dequantize(kind: type, channels: int | None) -> None:
    scale = np.array(0.02, np.float32) if channels is None else np.array([0.01, 0.02, 0.1], "f")
    zero = np.full(scale.shape, 5, kind)
    check("QuantizeLinear", [X, scale, zero], constants={1: scale, 2: zero}, axis=1)
    codes = np.arange(24).reshape(2, 3, 4).astype(kind)
    check("DequantizeLinear", [codes, scale, zero], axis=1)


@pytest.mark.parametrize("source", [np.float32, np.float64, np.int64, np.bool_, np.uint8])
@pytest.mark.parametrize("opset", [13, 19, 21])
def test_cast(source: type, opset: int) -> None:
    x = np.abs(2.7 * SMALL).astype(source)
    for target in ("FLOAT", "DOUBLE", "INT32", "INT64", "BOOL", "FLOAT16"):
        check("Cast", [x], opset, to=getattr(TensorProto, target))


def test_cast_like() -> None:
    check("CastLike", [SMALL, np.zeros(1, np.int64)])
