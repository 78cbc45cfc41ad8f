"""One call of a layer function, in a model of its own."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.functions.layer import layer_function, weight_functions
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import CodedWeight, WeightShape, binarization_of, decode_weight
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


WINDOWS = [
    {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [1, 1], "strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 1, 1]},
]
