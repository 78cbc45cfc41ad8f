"""Binary layers through ``export_module``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from subbyte.errors import OptionError
from subbyte.graph.load.torch_export import export_module
from subbyte.nn import ResidualBinaryConv2d, ResidualBinaryLinear, set_binarize_weights


def run(model: onnx.ModelProto, x: torch.Tensor) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (y,) = session.run(None, {model.graph.input[0].name: x.numpy()})
    return y


def binary_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.domain == "subbyte"]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        ResidualBinaryConv2d(8, 12, (3, 2), (2, 1), (1, 0), groups=2, bias=False, order=3),
        nn.PReLU(12),
        nn.BatchNorm2d(12),
        ResidualBinaryConv2d(12, 6, 2, padding="same", dilation=3, order=1, scales="pixel"),
        nn.Flatten(2),
        ResidualBinaryLinear(28, 10, order=2),
    )


def test_each_layer_is_one_node() -> None:
    model = export_module(net(), torch.randn(2, 3, 8, 8))
    first, second, third = binary_nodes(model)
    assert [first.op_type, third.op_type] == ["ResidualBinaryConv", "ResidualBinaryLinear"]
    assert attributes(first) == {
        "kernel_shape": [3, 2],
        "strides": [2, 1],
        "pads": [1, 0, 1, 0],
        "dilations": [1, 1],
        "group": 2,
        "order": 3,
        "scales": b"column",
    }
    assert attributes(second)["pads"] == [1, 1, 2, 2]
    assert attributes(second)["scales"] == b"pixel"
    assert attributes(third) == {"order": 2}
    assert [len(node.input) for node in (first, second, third)] == [2, 3, 3]
    assert [function.name for function in model.functions] == [first.op_type, third.op_type]


def test_latent_weights_stay_in_the_file() -> None:
    module = net()
    model = export_module(module, torch.randn(2, 3, 8, 8))
    held = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    for index, node in zip((2, 5, 7), binary_nodes(model), strict=True):
        layer: Any = module[index]
        np.testing.assert_array_equal(held[node.input[1]], layer.weight.detach().numpy())


def test_a_net_runs_at_any_batch_size() -> None:
    module = net()
    model = export_module(module, torch.randn(1, 3, 8, 8))
    x = torch.randn(5, 3, 8, 8)
    y = module.eval()(x).detach().numpy()
    # A value next to 0 may get another sign by rounding: few do.
    assert np.linalg.norm(run(model, x) - y) < 0.05 * np.linalg.norm(y)


def test_a_model_without_binary_layers_has_no_functions() -> None:
    model = export_module(nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8))
    assert not model.functions
    assert [entry.domain for entry in model.opset_import] == [""]


def test_weights_that_are_not_binarized_yet() -> None:
    module = net()
    set_binarize_weights(module, False)
    with pytest.raises(OptionError, match="binary layers to export: expected binarize_weights=Tr"):
        export_module(module, torch.randn(1, 3, 8, 8))


class Two(nn.Module):
    """W a + b, of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Features [N, 6] and offsets [N, 4]."""
        return self.linear(a) + b


A, B = torch.randn(3, 6), torch.randn(3, 4)


def names_of(model: onnx.ModelProto) -> list[str]:
    return [value.name for value in model.graph.input]


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_what_compile_and_data_parallel_put_around_a_module_is_not_exported() -> None:
    module = Two()
    plain = export_module(module, (A, B))
    for wrapped in (torch.compile(module), nn.DataParallel(module)):
        assert isinstance(wrapped, nn.Module)
        model = export_module(wrapped, (A, B))
        held = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer]
        assert names_of(model) == names_of(plain)
        assert any(np.array_equal(array, module.linear.weight.detach()) for array in held)


@pytest.mark.parametrize("kind", [torch.half, torch.bfloat16, torch.double])
def test_a_module_of_another_precision_is_exported_in_float32(kind: torch.dtype) -> None:
    module = Two().to(kind)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for inputs in ((A.to(kind), B.to(kind)), (A, B)):
        model = export_module(module, inputs)
        assert {item.data_type for item in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(value.dtype == kind for value in after.values())


def test_inputs_by_the_names_of_arguments() -> None:
    model = export_module(Two(), {"a": A, "b": B})
    assert names_of(model) == ["a", "b"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"a": A}, "does not run on example_inputs.*missing"),
        ({"a": A, "c": B}, "does not run on example_inputs"),
        ({"a": A, "b": 3}, "mapping from arguments of forward to tensors.*got dict of Tensor, int"),
        ((A.half().long(), B), "does not run on example_inputs"),
        (torch.tensor(1.0), "batch first"),
    ],
)
def test_inputs_that_do_not_fit(inputs: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        export_module(Two(), inputs)


def test_a_module_without_weights() -> None:
    with pytest.raises(OptionError, match=r"no weights.*got tensors on the meta device"):
        export_module(Two().to("meta"), (A, B))
