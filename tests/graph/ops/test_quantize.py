from __future__ import annotations

import numpy as np
import pytest

from tests.graph.one_node import check

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("channels", [None, 3])
def test_quantize_and_dequantize(kind: type, channels: int | None) -> None:
    scale = np.array(0.02, np.float32) if channels is None else np.array([0.01, 0.02, 0.1], "f")
    zero = np.full(scale.shape, 5, kind)
    check("QuantizeLinear", [X, scale, zero], constants={1: scale, 2: zero}, axis=1)
    codes = np.arange(24).reshape(2, 3, 4).astype(kind)
    check("DequantizeLinear", [codes, scale, zero], axis=1)
