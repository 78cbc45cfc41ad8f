from __future__ import annotations

import numpy as np
import pytest

from tests.graph.one_node import check

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 5, 6)).astype(np.float32)


def vector(size: int, low: float = -1.0) -> np.ndarray:
    return RNG.uniform(low, 2, size).astype(np.float32)


@pytest.mark.parametrize("opset", [11, 14, 18])
@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 30), (2, 4, 5, 6), (2, 4, 5, 3, 2)])
def test_batch_normalization(opset: int, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    parameters = [vector(4), vector(4), vector(4), vector(4, 0.1)]
    check("BatchNormalization", [x, *parameters], opset, epsilon=1e-3)


@pytest.mark.parametrize("axis", [-1, 2, 1])
def test_layer_normalization(axis: int) -> None:
    shape = X.shape[axis:]
    scale, bias = (RNG.standard_normal(shape).astype(np.float32) for _ in range(2))
    check("LayerNormalization", [X, scale, bias], axis=axis)
    check("LayerNormalization", [X, scale], axis=axis, epsilon=1e-2)


def test_layer_normalization_with_broadcast_scale() -> None:
    check("LayerNormalization", [X, vector(6), vector(6)], axis=2, opset=17)


@pytest.mark.parametrize("axis", [-1, 2])
def test_rms_normalization(axis: int) -> None:
    scale = RNG.standard_normal(X.shape[axis:]).astype(np.float32)
    check("RMSNormalization", [X, scale], 23, axis=axis)


def test_instance_normalization() -> None:
    check("InstanceNormalization", [X, vector(4), vector(4)])
    check("InstanceNormalization", [X[:, :, 0], vector(4), vector(4)], 11)
    check("InstanceNormalization", [X[:1, :1, :1, :1], vector(1), vector(1)])


def test_group_normalization() -> None:
    check("GroupNormalization", [X, vector(4), vector(4)], 21, num_groups=2)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(p: int) -> None:
    check("LpNormalization", [X], p=p, axis=1)


def test_mean_variance_normalization() -> None:
    check("MeanVarianceNormalization", [X], axes=[0, 2, 3])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(size: int) -> None:
    check("LRN", [X], size=size, alpha=0.1, beta=0.6, bias=2.0)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax(op_type: str, opset: int, axis: int) -> None:
    check(op_type, [X], opset, axis=axis)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_hardmax(axis: int) -> None:
    check("Hardmax", [X], axis=axis)
