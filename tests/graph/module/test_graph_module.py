from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from subbyte.errors import OptionError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from tests import tiny

RNG = np.random.default_rng(0)


def residual() -> GraphModule:
    """Conv - Relu - Conv without bias + skip - GlobalAveragePool - Reshape by Shape - MatMul."""
    constants = {
        "conv1.weight": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "conv1.bias": RNG.standard_normal(4).astype(np.float32),
        "conv2.weight": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32),
        "fc.weight": RNG.standard_normal((4, 5)).astype(np.float32),
        "two": np.array(2, np.float32),
        "minus": np.array([-1], np.int64),
    }
    nodes = [
        tiny.conv("conv1", "x", "a"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "conv2.weight"], ["b"], "conv2", pads=[1] * 4),
        helper.make_node("Add", ["b", "r"], ["s"], "add"),
        helper.make_node("Mul", ["s", "two"], ["m"], "twice"),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], "pool"),
        helper.make_node("Shape", ["x"], ["n"], "batch", start=0, end=1),
        helper.make_node("Concat", ["n", "minus"], ["shape"], "concat", axis=0),
        helper.make_node("Reshape", ["p", "shape"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "fc.weight"], ["y"], "fc"),
    ]
    model = tiny.build(nodes, constants, {"x": ["N", 3, 6, 6]}, {"y": ["N", 5]})
    return GraphModule(prepare(model, "residual")).eval()


def image(batch: int = 2) -> Tensor:
    return torch.from_numpy(RNG.standard_normal((batch, 3, 6, 6)).astype(np.float32))


def test_names_and_parameters() -> None:
    module = residual()
    assert module.input_names == ("x",)
    assert module.output_names == ("y",)
    names = {name for name, _ in module.named_parameters()}
    expected = {"conv1_weight", "conv1_bias", "conv2_weight", "fc_weight"}
    assert names == {f"values.{name}" for name in expected}
    assert {name for name, _ in module.named_buffers()} == {"values.two"}
    assert [step.name for step in module.steps][:2] == ["conv1", "relu"]


def test_gradients_reach_weights_and_input() -> None:
    module, x = residual(), image().requires_grad_()
    module(x).square().sum().backward()
    for tensor in (x, *module.parameters()):
        assert tensor.grad is not None
        assert bool((tensor.grad != 0).any())


def test_gradient_equals_finite_difference() -> None:
    module, x = residual().double(), image().double()
    weight = module.constant("conv1.weight")
    module(x).sum().backward()
    assert weight.grad is not None
    slope, step = weight.grad[1, 2, 0, 1].item(), 1e-6
    with torch.no_grad():
        before = module(x).sum()
        weight[1, 2, 0, 1] += step
        after = module(x).sum()
    assert (after - before).item() / step == pytest.approx(slope, rel=1e-4)


def test_state_dict_and_deepcopy() -> None:
    module, x = residual(), image()
    other = residual()
    assert not torch.equal(module(x), other(x))
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(x), other(x))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.constant("fc.weight").zero_()
    assert not torch.equal(module(x), twin(x))


def test_wrong_number_of_inputs() -> None:
    with pytest.raises(OptionError):
        residual()(image(), image())


def test_run_in_parts_equals_forward() -> None:
    module, x = residual(), image(3)
    last = len(module.steps)
    expected = module(x)
    for cut in range(last + 1):
        env = {"x": x}
        module.run(env, 0, cut)
        assert set(env) == module.live(cut)
        module.run(env, cut, last)
        assert set(env) == {"y"}
        assert torch.equal(env["y"], expected)


def test_live_values() -> None:
    module = residual()
    assert module.live(0) == {"x"}
    assert module.live(2) == {"x", "r"}
    assert module.live(3) == {"x", "r", "b"}
    assert module.live(len(module.steps)) == {"y"}


def test_keep() -> None:
    module = residual()
    env = {"x": image()}
    module.run(env, 0, 4, keep={"a", "r"})
    assert set(env) == {"x", "a", "r", "s"}


def test_walk_shows_every_step_beside_its_values() -> None:
    module, x = residual(), image()
    given, expected = {"x": x}, module(x)
    for place, step, before, after in module.walk(given):
        assert step is module.steps[place]
        assert set(before) == module.live(place)
        assert set(after) == module.live(place + 1) | set(step.outputs)
    assert torch.equal(after["y"], expected)
    assert set(given) == {"x"}


def test_computed_values_come_in_order() -> None:
    module, x = residual(), image()
    made = [name for step in module.steps for name in step.outputs]
    assert [name for name, _ in module.computed({"x": x})] == ["x", *made]
    found = dict(module.computed({"x": x}, {"r", "x"}))
    assert list(found) == ["x", "r"]
    assert found["x"] is x


class Doubled(nn.Module):
    def __init__(self, code: Tensor) -> None:
        super().__init__()
        self.code = nn.Parameter(code)

    def forward(self) -> Tensor:
        return 2 * self.code


def test_replace() -> None:
    module, x = residual(), image()
    expected = module(x)
    source = Doubled(module.constant("conv2.weight").detach() / 2)
    module.replace("conv2.weight", source)
    torch.testing.assert_close(module(x), expected)
    torch.testing.assert_close(module.constant("conv2.weight"), 2 * source.code)
    module(x).sum().backward()
    assert source.code.grad is not None
    names = {name for name, _ in module.named_parameters()}
    assert "sources.conv2_weight.code" in names
    assert "values.conv2_weight" not in names
    module.set_constant("conv2.weight", torch.zeros(4, 4, 3, 3))
    assert bool((module.constant("conv2.weight") == 0).all())


def test_set_constant() -> None:
    module, x = residual(), image()
    weight = torch.zeros(4, 4, 3, 3)
    module.set_constant("conv2.weight", weight)
    assert torch.equal(module.constant("conv2.weight"), weight)
    assert isinstance(module.constant("conv2.weight"), nn.Parameter)
    with pytest.raises(OptionError):
        module.set_constant("conv2.weight", weight[:1])
    assert torch.isfinite(module(x)).all()


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc"])
def test_set_bias(layer: str) -> None:
    module, x = residual(), image()
    step = next(step for step in module.steps if step.name == layer)
    width = module.constant(str(step.inputs[1])).shape[0]
    values = {}
    for value in (0.0, 1.5):
        module.set_bias(layer, torch.full((width,), value))
        env = {"x": x}
        module.run(env, 0, len(module.steps), keep={step.outputs[0]})
        values[value] = env[step.outputs[0]]
    torch.testing.assert_close(values[1.5], values[0.0] + 1.5)
    assert len([name for name, _ in module.named_parameters() if "bias" in name]) == (
        1 if layer == "conv1" else 2
    )


def test_set_bias_of_a_shared_bias_changes_one_layer() -> None:
    constants = {
        "w1": RNG.standard_normal((4, 4)).astype(np.float32),
        "w2": RNG.standard_normal((4, 4)).astype(np.float32),
        "b": np.zeros(4, np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b"], ["a"], "first"),
        helper.make_node("Gemm", ["a", "w2", "b"], ["y"], "second"),
    ]
    module = GraphModule(
        prepare(tiny.build(nodes, constants, {"x": ["N", 4]}, {"y": ["N", 4]}), "net")
    )
    module.set_bias("second", torch.ones(4))
    env = {"x": torch.zeros(1, 4)}
    module.run(env, 0, 2, keep={"a"})
    assert bool((env["a"] == 0).all())
    assert bool((env["y"] == 1).all())


def test_sizes_stay_on_the_cpu() -> None:
    module = residual()
    steps = {step.name: step for step in module.steps}
    assert steps["concat"].on_cpu
    assert not steps["batch"].on_cpu
    assert steps["flat"].moved == ()
    device = torch.device("meta")
    result = module.to(device)(image().to(device))
    assert result.device == device
    assert result.shape == (2, 5)


def test_sizes_used_as_data_follow_the_data() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["n"], "batch", start=0, end=1),
        helper.make_node("Cast", ["n"], ["c"], "cast", to=1),
        helper.make_node("Div", ["x", "c"], ["y"], "div"),
    ]
    model = tiny.build(nodes, {}, {"x": ["N", 3]}, {"y": ["N", 3]})
    module = GraphModule(prepare(model, "net"))
    (div,) = (step for step in module.steps if step.name == "div")
    assert div.moved == (1,)
    x = torch.ones(4, 3)
    torch.testing.assert_close(module(x), x / 4)
    assert module(x.to("meta")).device.type == "meta"


def test_several_inputs_and_outputs() -> None:
    nodes = [
        helper.make_node("Add", ["x", "z"], ["s"], "add"),
        helper.make_node("Mul", ["x", "z"], ["p"], "mul"),
    ]
    shapes = {"x": ["N", 3], "z": ["N", 3]}
    model = tiny.build(nodes, {}, shapes, {"s": ["N", 3], "p": ["N", 3]})
    module = GraphModule(prepare(model, "net"))
    x, z = torch.full((2, 3), 2.0), torch.full((2, 3), 5.0)
    total, product = module(x, z)
    assert bool((total == 7).all())
    assert bool((product == 10).all())


def test_modules_that_share_constants() -> None:
    """One memory for both, until one is given another value; neither sees what the other does."""
    model = tiny.classifier()
    network = prepare(model, "net")
    one = GraphModule(network)
    two = GraphModule(network, share=one)
    name = network.layers[0].weight
    assert one.constant(name).data_ptr() == two.constant(name).data_ptr()
    x = image()
    before = one(x)
    torch.testing.assert_close(two(x), before, rtol=0, atol=0)
    two.set_constant(name, torch.zeros_like(two.constant(name)))
    two.set_bias(network.layers[0].name, torch.ones(network.layers[0].shape.outputs))
    torch.testing.assert_close(one(x), before, rtol=0, atol=0)
    assert not torch.allclose(two(x), before)
    after = two(x)
    one.forget(name)
    assert one.constant(name).numel() == 0
    torch.testing.assert_close(two(x), after, rtol=0, atol=0)
