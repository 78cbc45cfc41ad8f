from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from tests.graph.one_node import check

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def test_shape_and_size() -> None:
    check("Shape", [X])
    check("Shape", [X], start=-1)
    check("Shape", [X], start=0, end=1)
    check("Size", [X])


def test_constant_of_shape() -> None:
    shape = np.array([2, 3], np.int64)
    check("ConstantOfShape", [shape])
    check("ConstantOfShape", [shape], value=numpy_helper.from_array(np.array([7], np.int64)))


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_range(kind: type) -> None:
    bounds = [np.array(value, kind) for value in (1, 8, 2)]
    check("Range", bounds)
    check("Range", bounds, constants={0: bounds[0], 2: bounds[2]})


def test_eye_like() -> None:
    check("EyeLike", [X], k=1)
    check("EyeLike", [X], dtype=7)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-1, 0, 2])
def test_trilu(upper: int, k: int) -> None:
    check("Trilu", [X], upper=upper)
    check("Trilu", [X, np.array(k, np.int64)], upper=upper)


@pytest.mark.parametrize("axis", [-1, 0])
def test_one_hot(axis: int) -> None:
    values = np.array([0.5, 2], np.float32)
    check("OneHot", [np.array([[0, 3], [-1, 7]]), np.array(4), values], axis=axis)
