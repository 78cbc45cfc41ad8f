"""Every function body against a plain reference."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

from subbyte.graph.functions.layer import layer_function, weight_functions
from subbyte.methods import METHODS, WeightShape, binarization_of, decode_weight
from tests.graph.functions.one_call import (
    OPSET,
    WINDOWS,
    M,
    R,
    X,
    Y,
    coded,
    codes,
    nhwc,
    onnx_weight,
    run,
)


def assert_codes_equal(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding at ties and of the int32 bias: one step, rarely."""
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02
    assert len(np.unique(expected)) > 20


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("method", ["scalar", "product", "gain"])
@pytest.mark.parametrize(("window", "groups"), [(WINDOWS[0], 1), (WINDOWS[1], 1), (WINDOWS[2], 2)])
def test_conv(method: str, window: dict[str, list[int]], groups: int, optimize: bool) -> None:
    kernel = tuple(window["kernel_shape"])
    shape = WeightShape(12, kernel[0] * kernel[1], 16 // groups, groups)
    weight = coded(method, shape)
    q, x = codes((2, 7, 9, 16), X, 2)
    bias = np.linspace(-1, 2, 12, dtype=np.float32)
    actual = run(weight, "Conv", "", {"x": q}, bias, {**window, "group": groups}, optimize)
    top, left, bottom, right = window["pads"]
    y = F.conv2d(
        F.pad(x, (left, right, top, bottom)),
        onnx_weight(weight, kernel),
        torch.from_numpy(bias),
        window["strides"],
        0,
        window["dilations"],
        groups,
    )
    assert_codes_equal(actual, Y.quantize(nhwc(y)))


def test_depthwise_conv() -> None:
    weight = coded("scalar", WeightShape(16, 9, 1, 16))
    q, x = codes((1, 8, 8, 16), X, 3)
    bias = np.zeros(16, np.float32)
    actual = run(weight, "Conv", "", {"x": q}, bias, {**WINDOWS[0], "group": 16}, True)
    y = F.conv2d(x, onnx_weight(weight, (3, 3)), padding=1, groups=16)
    assert_codes_equal(actual, Y.quantize(nhwc(y)))


@pytest.mark.parametrize("optimize", [False, True])
def test_conv_with_sum_rounds_before_it_adds(optimize: bool) -> None:
    weight = coded("gain", WeightShape(12, 9, 16))
    q, x = codes((2, 5, 6, 16), X, 4)
    r, other = codes((2, 5, 6, 12), R, 5)
    bias = np.linspace(-1, 1, 12, dtype=np.float32)
    feeds = {"x": q, "r": r}
    actual = run(weight, "Conv", "Add", feeds, bias, {**WINDOWS[0], "group": 1}, optimize)
    y = F.conv2d(x, onnx_weight(weight, (3, 3)), torch.from_numpy(bias), padding=1)
    inner = (M.quantize(y.numpy()).astype(np.float32) - M.zero_point) * np.float32(M.scale)
    assert_codes_equal(actual, Y.quantize(nhwc(torch.from_numpy(inner) + other)))


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER"])
def test_conv_padded_by_rule(padding: str) -> None:
    weight = coded("product", WeightShape(12, 4, 16))
    q, x = codes((1, 5, 5, 16), X, 6)
    window = {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    bias = np.zeros(12, np.float32)
    actual = run(weight, "ConvSame", "", {"x": q}, bias, {**window, "auto_pad": padding}, True)
    pads = (0, 1, 0, 1) if padding == "SAME_UPPER" else (1, 0, 1, 0)
    y = F.conv2d(F.pad(x, pads), onnx_weight(weight, (2, 2)))
    assert_codes_equal(actual, Y.quantize(nhwc(y)))


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("lead", [(3,), (2, 5), (2, 3, 4)])
@pytest.mark.parametrize("form", ["", "Dequant"])
def test_linear_of_any_rank(form: str, lead: tuple[int, ...], optimize: bool) -> None:
    weight = coded("product", WeightShape(24, 1, 32))
    q = np.random.default_rng(7).integers(0, 256, (*lead, 32)).astype(np.uint8)
    x = (q.astype(np.float32) - X.zero_point) * np.float32(X.scale)
    bias = np.linspace(-1, 2, 24, dtype=np.float32)
    actual = run(weight, "Linear", form, {"x": q}, bias, {}, optimize)
    y = x @ decode_weight(weight)[:, 0].T + bias
    if form == "Dequant":
        np.testing.assert_allclose(actual, y, atol=2e-5)
    else:
        assert_codes_equal(actual, Y.quantize(y))


def test_float_linear_on_either_side() -> None:
    weight = coded("gain", WeightShape(24, 1, 32))
    matrix = decode_weight(weight)[:, 0]
    bias = np.linspace(-1, 2, 24, dtype=np.float32)
    x = np.random.default_rng(8).standard_normal((2, 5, 32)).astype(np.float32)
    right = run(weight, "Linear", "Float", {"x": x}, bias, {}, True)
    np.testing.assert_allclose(right, x @ matrix.T + bias, atol=2e-5)
    left = run(weight, "LinearLeft", "Float", {"x": x.swapaxes(1, 2).copy()}, bias, {}, True)
    np.testing.assert_allclose(left, right.swapaxes(1, 2), atol=2e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("method", ["scalar", "gain"])
def test_float_conv(rank: int, method: str) -> None:
    weight = coded(method, WeightShape(12, 3**rank, 8, 2))
    x = np.random.default_rng(9).standard_normal((2, 16, *[6] * rank)).astype(np.float32)
    bias = np.linspace(-1, 2, 12, dtype=np.float32)
    window = {"kernel_shape": [3] * rank, "strides": [2] * rank, "dilations": [1] * rank}
    attributes = {**window, "pads": [1] * 2 * rank, "group": 2}
    actual = run(weight, "Conv", "Float", {"x": x}, bias, attributes, True)
    conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    kernel = onnx_weight(weight, (3,) * rank)
    y = conv(torch.from_numpy(x), kernel, torch.from_numpy(bias), 2, 1, 1, 2)
    np.testing.assert_allclose(actual, y.numpy(), atol=2e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_float_transposed_conv(groups: int) -> None:
    weight = coded("gain", WeightShape(12, 9, 16 // groups, groups))
    x = np.random.default_rng(10).standard_normal((2, 16, 5, 5)).astype(np.float32)
    bias = np.linspace(-1, 2, 12, dtype=np.float32)
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [1, 1]}
    attributes = {**window, "pads": [1] * 4, "output_padding": [1, 1], "group": groups}
    actual = run(weight, "ConvTranspose", "Float", {"x": x}, bias, attributes, True)
    values = decode_weight(weight).reshape(groups, 12 // groups, 9, 16 // groups)
    kernel = values.transpose(0, 3, 1, 2).reshape(16, 12 // groups, 3, 3).copy()
    y = F.conv_transpose2d(
        torch.from_numpy(x),
        torch.from_numpy(kernel),
        torch.from_numpy(bias),
        stride=2,
        padding=1,
        output_padding=1,
        groups=groups,
    )
    np.testing.assert_allclose(actual, y.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("method", "variant"), [(m.name, v) for m in METHODS.values() for v in m.variants]
)
def test_bodies_use_operators_of_set_18(method: str, variant: str) -> None:
    weight = coded(variant.lower() or method, WeightShape(12, 9, 16))
    functions = weight_functions(method, variant, list(weight.inputs), OPSET)
    unpack = functions[-1]
    for op, form in itertools.product(("Conv", "Linear"), ("", "Float")):
        functions.append(layer_function(unpack, op, form, OPSET, binarization_of(weight)))
    for function in functions:
        for node in function.node:
            if node.domain == "":
                onnx.defs.get_schema(node.op_type, OPSET, "")


@pytest.mark.parametrize("opset", [19, 21, 23])
def test_bodies_mean_the_same_in_later_sets(opset: int) -> None:
    weight = coded("gain", WeightShape(12, 9, 16))
    q, _ = codes((1, 5, 5, 16), X, 11)
    bias = np.zeros(12, np.float32)
    attributes = {**WINDOWS[0], "group": 1}
    expected = run(weight, "Conv", "", {"x": q}, bias, attributes, True)
    actual = run(weight, "Conv", "", {"x": q}, bias, attributes, True, opset)
    np.testing.assert_array_equal(actual, expected)


def test_functions_are_small() -> None:
    """All the functions of a file with one method of weights, in bytes."""
    weight = coded("gain", WeightShape(12, 9, 16))
    unpack = weight_functions("product", "Gain", list(weight.inputs), OPSET)
    forms = [("Conv", ""), ("Conv", "Add"), ("Linear", "Dequant")]
    functions = [*unpack, *(layer_function(unpack[-1], op, form, OPSET) for op, form in forms)]
    assert sum(function.ByteSize() for function in functions) < 6000


@pytest.mark.parametrize(("method", "calls"), [("scalar", 1), ("product", 1), ("gain", 2)])
def test_codes_are_unpacked_by_one_shared_function(method: str, calls: int) -> None:
    weight = coded(method, WeightShape(12, 9, 16))
    unpack, own = weight_functions(weight.method, weight.variant, list(weight.inputs), OPSET)
    assert unpack.name == "Unpack"
    assert sum(node.op_type == "Unpack" for node in own.node) == calls
