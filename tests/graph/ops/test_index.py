from __future__ import annotations

import numpy as np
import pytest

from tests.graph.one_node import check

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "indices", [np.array(-2), np.array([0, -1, 2]), np.array([[1, 0], [3, -4]])]
)
def test_gather(axis: int, indices: np.ndarray) -> None:
    check("Gather", [X, indices], axis=axis)
    check("Gather", [X, indices], constants={1: indices}, axis=axis)
    check("Gather", [X, indices.astype(np.int32)], constants={0: X}, axis=axis)


@pytest.mark.parametrize("axis", [0, -1])
def test_gather_elements(axis: int) -> None:
    check("GatherElements", [X, RNG.integers(-4, 4, (2, 5, 6))], axis=0)
    check("GatherElements", [X, RNG.integers(-4, 4, X.shape)], axis=axis)


def test_gather_nd() -> None:
    check("GatherND", [X, RNG.integers(-4, 4, (2, 3, 2))])
    check("GatherND", [X, RNG.integers(-4, 4, (2, 3, 3))], 11)
    check("GatherND", [X, RNG.integers(0, 4, (4, 2, 1))], batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_elements(reduction: str) -> None:
    indices = np.argsort(RNG.random((3, 5, 6)), axis=0)
    updates = RNG.standard_normal(indices.shape).astype(np.float32)
    check("ScatterElements", [X, indices, updates], axis=0, reduction=reduction)
    check("ScatterElements", [X, indices - 4, updates], 11, axis=0)


@pytest.mark.parametrize("reduction", ["none", "add"])
def test_scatter_nd(reduction: str) -> None:
    indices = np.array([[[0, 1], [3, -1]]])
    updates = RNG.standard_normal((1, 2, 6)).astype(np.float32)
    check("ScatterND", [X, indices, updates], reduction=reduction)


def test_selection() -> None:
    check("NonZero", [(X > 0.5).astype(np.float32)])
    check("Compress", [X, np.array([True, False, True, True])], axis=1)
    check("Compress", [X, np.array([True, False, True, True])])


def test_reverse_sequence() -> None:
    check("ReverseSequence", [X, np.array([1, 4, 2, 3, 4])], time_axis=0, batch_axis=1)
    check("ReverseSequence", [X, np.array([1, 5, 2, 3])], time_axis=1, batch_axis=0)
