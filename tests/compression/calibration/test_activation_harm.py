"""Values that the outputs do not bear in eight bits, though the layers that read them do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

import subbyte
from subbyte.compression.calibration.activation_harm import harmful, rounded
from subbyte.compression.calibration.activation_ranges import HOPELESS, input_losses, measure
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams
from subbyte.progress import silent
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import CPU, Array, normal, samples_for

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


def found(model: onnx.ModelProto, data: Array) -> tuple[dict[str, str], float]:
    """The harmful groups, and the largest loss that a layer sees."""
    run = Run(prepare(model, "net"), samples_for(model, data))
    module, plan = GraphModule(run.network).eval(), plan_islands(run.network)
    ranges = measure(module, plan.groups, run.samples, CPU, silent)
    params = {g.name: g.params(ranges[g.name].low, ranges[g.name].high) for g in plan.groups}
    losses = input_losses(run, module, plan, params)
    return harmful(run, module, plan, params), max(loss for loss, _ in losses.values())


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
    rows = {row["name"]: row for row in inspect(tmp_path / "a.onnx")["layers"]}
    assert "moves an output" in rows["conv1"]["reason"]
    got = np.asarray(subbyte.load(tmp_path / "a.onnx", engine=engine).run(data))  # type: ignore[arg-type]
    (exact,) = ReferenceEvaluator(model).run(None, {"x": data})
    assert ((got - exact) ** 2).mean() < 0.02 * exact.var()


def test_rounding_is_that_of_the_file() -> None:
    params, values = QuantParams(0.5, 10), normal(5, 100) * 100
    expected = (params.quantize(values).astype(np.float32) - 10) * 0.5
    np.testing.assert_array_equal(rounded(torch.from_numpy(values), params).numpy(), expected)
