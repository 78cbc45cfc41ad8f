"""Values that the outputs do not bear in eight bits, though the layers that read them do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

import subbyte
from subbyte.compression.calibration.activation_harm import ALONE, harmful, rounded
from subbyte.compression.calibration.activation_ranges import HOPELESS, input_losses
from subbyte.compression.calibration.value_ranges import LEAST_TO_DEAL, measure
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams
from subbyte.progress import silent
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import CPU, Array, normal, params_of, samples_for

WEIGHTS = {"w1": normal(0, 8, 8, 1, 1), "w2": normal(1, 8, 8, 1, 1)}


def loud_and_quiet(count: int) -> Array:
    """Samples whose magnitudes differ by the thousand."""
    loudness = np.geomspace(1e-3, 1.0, count).reshape(-1, 1, 1, 1)
    return (loudness * normal(3, count, 8, 4, 4)).astype(np.float32)


def network(last: str) -> onnx.ModelProto:
    """log(|conv2(conv1(x))| + 1e-6), or the same with another operator for log."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1"),
        helper.make_node("Conv", ["a", "w2"], ["b"], "conv2"),
        helper.make_node("Abs", ["b"], ["c"], "abs"),
        helper.make_node("Add", ["c", "least"], ["d"], "add"),
        helper.make_node(last, ["d"], ["y"], "last"),
    ]
    constants = WEIGHTS | {"least": np.full((1,), 1e-6, np.float32)}
    return tiny.build(nodes, constants, {"x": ["N", 8, 4, 4]}, {"y": ["N", 8, 4, 4]})


def found(
    model: onnx.ModelProto, data: Array, alone: float = ALONE[0]
) -> tuple[dict[str, str], float]:
    """The harmful groups, and the largest loss that a layer sees."""
    run = Run(prepare(model, "net"), samples_for(model, data))
    module, plan = GraphModule(run.network).eval(), plan_islands(run.network)
    ranges = measure(module, plan.groups, run.samples, CPU, silent)
    params = params_of(plan.groups, ranges)
    losses = input_losses(run, module, plan, params)
    return harmful(run, module, plan, ranges, alone), max(loss for loss, _ in losses.values())


def test_a_logarithm_does_not_bear_what_its_layer_does() -> None:
    harm, loss = found(network("Log"), loud_and_quiet(8))
    assert loss < HOPELESS
    assert set(harm) == {"x", "a"}
    assert all("it alone moves an output" in reason for reason in harm.values())


def test_outputs_whose_shape_hangs_on_values_are_left_out() -> None:
    """Rounding makes zeros of small values, and there are fewer indices of others."""
    model = network("Floor")
    model.graph.node.append(helper.make_node("NonZero", ["b"], ["places"], "nonzero"))
    model.graph.output.append(helper.make_tensor_value_info("places", onnx.TensorProto.INT64, None))
    del model.graph.output[0]
    harm, _ = found(model, loud_and_quiet(8))
    assert harm == {}


def test_the_same_layers_without_it_keep_eight_bits() -> None:
    harm, _ = found(network("Identity"), loud_and_quiet(8))
    assert harm == {}


@pytest.mark.parametrize("engine", ["portable", "native"])
def test_the_file_is_near_and_inspect_says_why(engine: str, tmp_path: Path) -> None:
    model, data = network("Log"), loud_and_quiet(24)
    subbyte.compress(model, tmp_path / "a.onnx", data, method="scalar", bits=8)
    rows = {row["name"]: row for row in inspect(tmp_path / "a.onnx").layers}
    assert "moves an output" in rows["conv1"]["reason"]
    got = np.asarray(subbyte.load(tmp_path / "a.onnx", engine=engine).run(data))  # type: ignore[arg-type]
    (exact,) = ReferenceEvaluator(model).run(None, {"x": data})
    assert ((got - exact) ** 2).mean() < 0.02 * exact.var()


# On samples that did not make the ranges


def exponential(axes: int = 4) -> onnx.ModelProto:
    """conv2(a exp(a)), a = conv1(x); with two ``axes`` a thousandth of its mean over the map."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1"),
        helper.make_node("Exp", ["a"], ["e"], "exp"),
        helper.make_node("Mul", ["a", "e"], ["b"], "mul"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "conv2"),
    ]
    if axes == 4:
        nodes.append(helper.make_node("Identity", ["c"], ["y"], "last"))
        return tiny.build(nodes, WEIGHTS, {"x": ["N", 8, 4, 4]}, {"y": ["N", 8, 4, 4]})
    nodes.append(helper.make_node("ReduceMean", ["c", "axes"], ["y"], "mean", keepdims=0))
    constants = WEIGHTS | {"w2": WEIGHTS["w2"] / 1000, "axes": np.array([2, 3])}
    return tiny.build(nodes, constants, {"x": ["N", 8, 4, 4]}, {"y": ["N", 8]})


def quiet_but_for_one(count: int) -> Array:
    data = 0.2 * normal(4, count, 8, 4, 4)
    data[count // 2] *= 4
    return data


def test_a_value_beyond_the_ranges_of_the_others_is_found() -> None:
    harm, _ = found(exponential(), quiet_but_for_one(32))
    assert "a" in harm
    few, _ = found(exponential(), quiet_but_for_one(LEAST_TO_DEAL - 1))
    assert few == {}


def test_the_error_of_an_output_of_two_axes_counts_beside_its_kl() -> None:
    """A softmax of numbers that are nearly zero does not see that they are wrong."""
    harm, _ = found(exponential(axes=2), quiet_but_for_one(32))
    assert "a" in harm


def test_later_samples_are_near(tmp_path: Path) -> None:
    """Over ranges that are judged on their own samples the error is 0.8 of the variance."""
    loudness = 0.3 * np.exp(0.6 * normal(5, 364, 1, 1, 1))
    model, data = exponential(), loudness * normal(4, 364, 8, 4, 4)
    subbyte.compress(model, tmp_path / "a.onnx", data[:64], bits=8)
    got = np.asarray(subbyte.load(tmp_path / "a.onnx").run(data[64:]))
    (exact,) = ReferenceEvaluator(model).run(None, {"x": data[64:]})
    assert ((got - exact) ** 2).mean() < 0.005 * exact.var()


# The search by halves


def chain(logarithms: Sequence[int], length: int = 9) -> onnx.ModelProto:
    """Convolutions one after the other; after these numbers an output log(|value| + 1e-6)."""
    nodes, outputs, constants = [], {}, {"least": np.full((1,), 1e-6, np.float32)}
    for number in range(length):
        weight, source = f"w{number}", f"v{number - 1}" if number else "x"
        constants[weight] = (np.eye(8) + 0.1 * normal(number, 8, 8)).astype(np.float32)
        constants[weight] = constants[weight].reshape(8, 8, 1, 1)
        nodes.append(helper.make_node("Conv", [source, weight], [f"v{number}"], f"conv{number}"))
        if number in logarithms:
            names = [f"{name}{number}" for name in ("abs", "sum", "log")]
            nodes += [
                helper.make_node("Abs", [f"v{number}"], [names[0]], names[0]),
                helper.make_node("Add", [names[0], "least"], [names[1]], names[1]),
                helper.make_node("Log", [names[1]], [names[2]], names[2]),
            ]
            outputs[names[2]] = ["N", 8, 4, 4]
    nodes.append(helper.make_node("Identity", [f"v{length - 1}"], ["y"], "last"))
    return tiny.build(nodes, constants, {"x": ["N", 8, 4, 4]}, outputs | {"y": ["N", 8, 4, 4]})


@pytest.mark.parametrize(("logarithm", "harmful_ones"), [(0, 2), (3, 5), (7, 9)])
def test_every_value_before_a_logarithm_is_found_and_none_after(
    logarithm: int, harmful_ones: int
) -> None:
    harm, _ = found(chain([logarithm]), loud_and_quiet(8))
    values = ["x", *(f"v{number}" for number in range(logarithm + 1))]
    assert len(values) == harmful_ones
    assert set(harm) == set(values)


def test_with_a_lower_bound_values_that_do_less_are_found_too() -> None:
    model, data = chain([3]), loud_and_quiet(8)
    most, _ = found(model, data)
    every, _ = found(model, data, alone=0.0)
    assert most.items() < every.items()
    assert {f"v{number}" for number in range(4, 8)} < every.keys()


def test_rounding_is_that_of_the_file() -> None:
    params, values = QuantParams(0.5, 10), normal(5, 100) * 100
    expected = (params.quantize(values).astype(np.float32) - 10) * 0.5
    np.testing.assert_array_equal(rounded(torch.from_numpy(values), params).numpy(), expected)
