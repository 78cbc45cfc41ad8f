"""The functions of binary layers in onnxruntime, against the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from subbyte.graph.functions.residual_binary import add_residual_binary_functions
from subbyte.nn import ResidualBinaryConv2d, ResidualBinaryLinear
from tests.nn import reference

Array = NDArray[Any]


def one_node(layer: nn.Conv2d | nn.Linear, rank: int, **attributes: Any) -> onnx.ModelProto:
    """A model of the layer's node."""
    arrays = {"W": layer.weight} if layer.bias is None else {"W": layer.weight, "B": layer.bias}
    name = "ResidualBinaryConv" if isinstance(layer, nn.Conv2d) else "ResidualBinaryLinear"
    free = [None] * rank
    graph = helper.make_graph(
        [helper.make_node(name, ["X", *arrays], ["Y"], domain="subbyte", **attributes)],
        "one",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, free)],
        [numpy_helper.from_array(value.detach().numpy(), key) for key, value in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("subbyte", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    add_residual_binary_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def conv_model(layer: ResidualBinaryConv2d) -> onnx.ModelProto:
    window = layer.window
    return one_node(
        layer,
        4,
        kernel_shape=list(layer.kernel_size),
        strides=list(window.stride),
        pads=list(window.pads),
        dilations=list(window.dilation),
        group=window.groups,
        order=window.order,
        scales=window.scales,
    )


def run(model: onnx.ModelProto, x: torch.Tensor) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {"X": x.numpy()})
    return np.asarray(y)


@pytest.mark.parametrize("scales", ["column", "pixel", "image"])
@pytest.mark.parametrize("order", [1, 3])
def test_convolutions(scales: str, order: int) -> None:
    for layer in reference.layers(scales, order):
        x = torch.randn(3, layer.in_channels, 7, 6)
        y = layer(x).detach().numpy()
        reference.assert_close(run(conv_model(layer), x), y, 2e-6)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(20,), (3, 20), (2, 3, 20)])
def test_linear_layers(shape: tuple[int, ...], bias: bool) -> None:
    layer = ResidualBinaryLinear(20, 7, bias, order=2)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    y = run(one_node(layer, len(shape), order=2), x)
    np.testing.assert_allclose(y, layer(x).detach().numpy(), atol=2e-6)


def test_zeros_are_positive() -> None:
    layer = ResidualBinaryConv2d(2, 1, 1, bias=False, order=1)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 0] = 3
    x = torch.tensor([0.0, -0.0, 4.0, -2.0]).view(1, 2, 1, 2)
    # alpha = 1.5 and both weights count as +1; of a column (0, 4) both signs are +1 too.
    assert run(conv_model(layer), x).ravel().tolist() == [6.0, 0.0]
    assert layer(x).detach().ravel().tolist() == [6.0, 0.0]


def test_functions_can_be_expanded() -> None:
    """What runtimes without model-local functions read."""
    layer = reference.layers("image", 2)[1]
    x = torch.randn(2, layer.in_channels, 7, 6)
    model = conv_model(layer)
    expanded = onnx.inliner.inline_local_functions(model)
    assert {node.domain for node in expanded.graph.node} == {""}
    np.testing.assert_array_equal(run(expanded, x), run(model, x))
