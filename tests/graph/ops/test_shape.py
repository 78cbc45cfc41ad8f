from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph.one_node import check

X = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def check_both(op_type: str, x: np.ndarray, *lists: np.ndarray | None, **more: Any) -> None:
    """With sizes as graph inputs, and as constants."""
    check(op_type, [x, *lists], **more)
    constants = {place: value for place, value in enumerate(lists, 1) if value is not None}
    check(op_type, [x, *lists], constants=constants, **more)


@pytest.mark.parametrize("shape", [(6, 24), (0, -1), (0, 0, 24), (-1,), (2, 3, 1, 4, 6)])
def test_reshape(shape: tuple[int, ...]) -> None:
    check_both("Reshape", X, ints(*shape))


def test_reshape_allow_zero() -> None:
    check_both("Reshape", X[:0], ints(0, 5), allowzero=1)


@pytest.mark.parametrize("axis", [0, 1, 2, 4, -1])
def test_flatten(axis: int) -> None:
    check("Flatten", [X], axis=axis)


def test_transpose() -> None:
    check("Transpose", [X])
    check("Transpose", [X], perm=[0, 3, 1, 2])


def test_squeeze_and_unsqueeze() -> None:
    check_both("Squeeze", X[:1, :, :1], ints(0, -2))
    check("Squeeze", [X[:1, :, :1]])
    check("Squeeze", [X[:1, :, :1]], 11, axes=[0, 2])
    check_both("Unsqueeze", X, ints(0, -1, 2))
    check("Unsqueeze", [X], 11, axes=[0, 2])


@pytest.mark.parametrize("axis", [0, -1])
def test_concat(axis: int) -> None:
    check("Concat", [X, X + 1, X], axis=axis)


def test_split() -> None:
    check_both("Split", X, ints(1, 3, 2), axis=-1, outputs=3)
    check("Split", [X[..., :5]], num_outputs=2, axis=3, outputs=2)
    check("Split", [X], 13, axis=3, outputs=3)
    check("Split", [X], 11, axis=3, outputs=2, split=[1, 5])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.sampled_from([-3, -2, -1, 1, 2, 3])),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_slice(bounds: list[tuple[int, int, int]], constant: bool) -> None:
    starts, ends, steps = (ints(*column) for column in zip(*bounds, strict=True))
    axes = ints(*[3, -3, 2][: len(bounds)])
    lists = [starts, ends, axes, steps]
    check("Slice", [X, *lists], constants=dict(enumerate(lists, 1)) if constant else None)


def test_slice_extremes() -> None:
    lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    check_both("Slice", X, ints(1), ints(highest))
    check_both("Slice", X, ints(-1), ints(lowest), ints(3), ints(-1))
    check_both("Slice", X, ints(0, 1), ints(2, highest), opset=11)


def test_expand_and_tile() -> None:
    check_both("Expand", X[:, :1], ints(5, 1, 3, 1, 6))
    check_both("Tile", X, ints(1, 2, 1, 3))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 2, 1), (0, 1, 0, 4, 0, 2, 3, 0)])
def test_pad(mode: str, pads: tuple[int, ...]) -> None:
    check_both("Pad", X, ints(*pads), mode=mode, opset=19)


def test_pad_value_and_axes() -> None:
    check_both("Pad", X, ints(1, 2), np.array(3.5, np.float32), ints(-2))
    check_both("Pad", X, ints(0, 0, 0, -1, 0, 0, 2, -1), np.array(-1, np.float32), opset=11)
    check_both("Pad", X.astype(np.int64), ints(0, 0, 0, 1, 0, 0, 2, 1))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    x = np.arange(2 * 8 * 2 * 3, dtype=np.float32).reshape(2, 8, 2, 3)
    check("DepthToSpace", [x], blocksize=2, mode=mode)
    check("SpaceToDepth", [X], blocksize=2)
