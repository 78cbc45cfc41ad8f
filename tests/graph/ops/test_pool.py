from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph.one_node import check

Case = tuple[np.ndarray, dict[str, Any]]


@st.composite
def pool_case(draw: st.DrawFn, dilate: bool) -> Case:
    rank = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) if dilate else 1 for _ in range(rank)]
    spatial = [
        dilation * (k - 1) + 1 + draw(st.integers(0, 5))
        for k, dilation in zip(kernel, dilations, strict=True)
    ]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    if dilate:
        attributes["dilations"] = dilations
    form = draw(st.sampled_from(["pads", "ceil", "auto"]))
    runs = all(stride <= k for stride, k in zip(strides, kernel, strict=True))
    if form == "auto" and runs:
        attributes["auto_pad"] = draw(st.sampled_from(["VALID", "SAME_UPPER", "SAME_LOWER"]))
    else:
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
        attributes["ceil_mode"] = int(form == "ceil")
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *spatial)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32), attributes


@settings(max_examples=80, deadline=None, derandomize=True)
@given(pool_case(dilate=True), st.sampled_from([12, 18, 22]))
def test_max_pool(case: Case, opset: int) -> None:
    check("MaxPool", [case[0]], opset, **case[1])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(pool_case(dilate=False), st.sampled_from([11, 18, 22]), st.integers(0, 1))
def test_average_pool(case: Case, opset: int, count_include_pad: int) -> None:
    check("AveragePool", [case[0]], opset, count_include_pad=count_include_pad, **case[1])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pool_case(dilate=True), st.integers(0, 1))
def test_average_pool_with_dilations(case: Case, count_include_pad: int) -> None:
    check("AveragePool", [case[0]], 22, count_include_pad=count_include_pad, **case[1])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(p: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6)).astype(np.float32)
    check("LpPool", [x], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], p=p)


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("spatial", [(5,), (4, 5), (2, 3, 4)])
def test_global_pool(op_type: str, spatial: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, *spatial)).astype(np.float32)
    check(op_type, [x])
