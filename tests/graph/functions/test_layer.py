"""Every function body against a plain reference."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.layer import layer_function, weight_functions
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import METHODS, CodedWeight, WeightShape, binarization_of, decode_weight
from subbyte.methods.binarization import BINARIZATIONS
from tests.graph.coding import (
    code_binary,
    code_composite,
    code_product,
    code_scalar,
    code_ternary,
    session,
)

OPSET = 18
X, Y, R, M = (
    QuantParams(0.02, 128),
    QuantParams(0.05, 0),
    QuantParams(0.03, 7),
    QuantParams(0.04, 128),
)


def coded(method: str, shape: WeightShape) -> CodedWeight:
    weight = np.random.default_rng(1).standard_normal((shape.outputs, shape.taps, shape.inputs))
    weight = weight.astype(np.float32) / np.sqrt(shape.taps * shape.inputs)
    if method == "scalar":
        return code_scalar(weight, shape, 4)
    if method == "ternary":
        return code_ternary(weight, shape)
    if method in ("composite", "factored"):
        return code_composite(weight, shape, factored=method == "factored")
    if method.title() in BINARIZATIONS:
        form = BINARIZATIONS[method.title()]
        return code_binary(weight, shape, form.order, form.scales)
    return code_product(weight, shape, gain=3 if method == "gain" else 0)


def run(
    weight: CodedWeight,
    op: str,
    form: str,
    feeds: dict[str, np.ndarray],
    bias: np.ndarray,
    attributes: dict[str, object],
    optimize: bool,
    opset: int = OPSET,
) -> np.ndarray:
    """One call of the function in a model of its own."""
    unpack = weight_functions(weight.method, weight.variant, list(weight.inputs), opset)
    function = layer_function(unpack[-1], op, form, opset, binarization_of(weight))
    constants: dict[str, np.ndarray] = {**weight.inputs, "bias": bias}
    for name, params in (("x", X), ("y", Y), ("r", R), ("m", M)):
        constants[f"{name}_scale"] = np.float32(params.scale)
        constants[f"{name}_zero"] = np.uint8(params.zero_point)
    node = helper.make_node(
        function.name, list(function.input), ["y"], domain=DOMAIN, **weight.attributes, **attributes
    )
    inputs = [name for name in function.input if name in feeds]
    output = TensorProto.UINT8 if form in ("", "Add") else TensorProto.FLOAT
    kind = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.float32): TensorProto.FLOAT}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(n, kind[feeds[n].dtype], feeds[n].shape) for n in inputs],
        [helper.make_tensor_value_info("y", output, [None] * feeds["x"].ndim)],
        [
            numpy_helper.from_array(np.asarray(constants[name]), name)
            for name in function.input
            if name not in feeds
        ],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(
        graph, opset_imports=imports, functions=[*unpack, function], ir_version=10
    )
    onnx.checker.check_model(model)
    (y,) = session(model, optimize=optimize).run(None, feeds)
    return np.asarray(y)


def onnx_weight(weight: CodedWeight, kernel: tuple[int, ...]) -> torch.Tensor:
    """[O, T, I] -> torch's [O, I, *kernel]."""
    values = decode_weight(weight).swapaxes(1, 2)
    return torch.from_numpy(values.reshape(*values.shape[:2], *kernel).copy())


def nhwc(x: torch.Tensor) -> np.ndarray:
    return x.numpy().transpose(0, 2, 3, 1)


def codes(
    shape: tuple[int, ...], params: QuantParams, seed: int
) -> tuple[np.ndarray, torch.Tensor]:
    """Random NHWC codes and the NCHW floats they stand for."""
    q = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    x = (q.astype(np.float32) - params.zero_point) * np.float32(params.scale)
    return q, torch.from_numpy(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x)


def assert_codes_equal(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding at ties and of the int32 bias: one step, rarely."""
    difference = np.abs(actual.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02
    assert len(np.unique(expected)) > 20


WINDOWS = [
    {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [1, 1], "strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 1, 1]},
]


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
