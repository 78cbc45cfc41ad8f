from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graph.one_node import check


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


@st.composite
def conv_case(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    sizes = st.lists(st.integers(1, 3), min_size=rank, max_size=rank)
    kernel, strides, dilations = draw(sizes), draw(sizes), draw(sizes)
    inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    spatial = [
        dilation * (k - 1) + 1 + draw(st.integers(0, 4))
        for k, dilation in zip(kernel, dilations, strict=True)
    ]
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations}
    if draw(st.booleans()):
        attributes["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    elif set(dilations) == {1}:
        attributes["auto_pad"] = draw(st.sampled_from(["VALID", "SAME_UPPER", "SAME_LOWER"]))
    arrays = [
        weights(draw(st.integers(1, 2)), groups * inputs, *spatial),
        weights(groups * outputs, inputs, *kernel),
    ]
    return arrays + ([weights(groups * outputs)] if draw(st.booleans()) else []), attributes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(conv_case(), st.sampled_from([11, 18, 22]), st.booleans())
def test_conv(case: tuple[list[np.ndarray], dict[str, Any]], opset: int, constant: bool) -> None:
    inputs, attributes = case
    constants = dict(enumerate(inputs[1:], 1)) if constant else None
    check("Conv", inputs, opset, constants, **attributes)


@st.composite
def conv_transpose_case(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2]))
    sizes = st.lists(st.integers(1, 3), min_size=rank, max_size=rank)
    kernel, strides, dilations = draw(sizes), draw(sizes), draw(sizes)
    outputs, spatial = draw(st.integers(1, 2)), draw(sizes)
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations}
    spans = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    if draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, span // 2)) for span in spans + spans]
        attributes["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in strides]
    elif draw(st.booleans()):
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
        attributes["output_shape"] = [
            stride * (size - 1) + span + 1 - draw(st.integers(0, span))
            for stride, size, span in zip(strides, spatial, spans, strict=True)
        ]
    arrays = [
        weights(draw(st.integers(1, 2)), 2 * groups, *spatial),
        weights(2 * groups, outputs, *kernel),
    ]
    return arrays + ([weights(groups * outputs)] if draw(st.booleans()) else []), attributes


@settings(max_examples=60, deadline=None, derandomize=True)
@given(conv_transpose_case(), st.sampled_from([11, 18, 22]), st.booleans())
def test_conv_transpose(
    case: tuple[list[np.ndarray], dict[str, Any]], opset: int, constant: bool
) -> None:
    inputs, attributes = case
    constants = dict(enumerate(inputs[1:], 1)) if constant else None
    check("ConvTranspose", inputs, opset, constants, **attributes)


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("flips", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("side", [None, 0, 1])
@pytest.mark.parametrize("shape", [None, (), (5,), (1, 5), (4, 1), (4, 5)])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(
    opset: int,
    flips: tuple[int, int],
    side: int | None,
    shape: tuple[int, ...] | None,
    scales: tuple[float, float],
) -> None:
    a, b = weights(4, 3), weights(3, 5)
    inputs = [a.T.copy() if flips[0] else a, b.T.copy() if flips[1] else b]
    if shape is not None:
        inputs.append(np.float32(0.7) + weights(*shape))
    constants = None if side is None else {side: inputs[side]}
    if constants is not None and shape is not None:
        constants[2] = inputs[2]
    check(
        "Gemm", inputs, opset, constants,
        transA=flips[0], transB=flips[1], alpha=scales[0], beta=scales[1],
    )  # fmt: skip


@pytest.mark.parametrize("side", [None, 0, 1])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4, 3), (3, 5)),
        ((2, 4, 3), (3, 5)),
        ((4, 3), (2, 3, 5)),
        ((2, 6, 4, 3), (2, 6, 3, 5)),
        ((3,), (3, 5)),
        ((4, 3), (3,)),
        ((3,), (3,)),
    ],
)
def test_mat_mul(side: int | None, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = [weights(*left), weights(*right)]
    check("MatMul", inputs, constants=None if side is None else {side: inputs[side]})


def test_determinant() -> None:
    check("Det", [weights(2, 3, 3)])


@pytest.mark.parametrize("opset", [12, 18])
def test_einsum(opset: int) -> None:
    check("Einsum", [weights(2, 3, 4), weights(2, 4, 5)], opset, equation="bij,bjk->bik")
