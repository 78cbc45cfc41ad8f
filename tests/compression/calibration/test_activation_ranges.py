"""Which values are carried in eight bits, and which ranges are hopeless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import subbyte
from subbyte.compression.calibration.activation_ranges import (
    HOPELESS,
    input_losses,
    quantize_activations,
)
from subbyte.compression.calibration.value_ranges import measure
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import silent
from subbyte.report import inspect
from tests.compression.nets import (
    CPU,
    Array,
    params_of,
    samples_for,
    smooth_images,
    two_convolutions,
)


def rounded_ranges(model: onnx.ModelProto, data: Array) -> dict[str, tuple[float, str]]:
    prepared = prepare(model, "net")
    module, samples = GraphModule(prepared).eval(), samples_for(model, data)
    plan = plan_islands(prepared)
    ranges = measure(module, plan.groups, samples, CPU, silent)
    params = params_of(plan.groups, ranges)
    return input_losses(Run(prepared, samples), module, plan, params)


def test_losses_of_rounding_are_small_on_ordinary_data() -> None:
    losses = rounded_ranges(two_convolutions(), smooth_images(30, 16))
    assert len(losses) == 2
    assert all(0 < loss < HOPELESS / 10 for loss, _ in losses.values())


def one_large_channel() -> tuple[onnx.ModelProto, Array]:
    """x's first channel is huge, and the layer hardly reads it: what it reads is lost."""
    model, data = two_convolutions(), smooth_images(30, 16)
    data[:, 0] *= 3000
    weight = next(t for t in model.graph.initializer if t.name == "conv1.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:, 0] /= 3000
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "conv1.weight"))
    return model, data


def test_one_large_channel_does_not_hide_the_others() -> None:
    loss, layer = rounded_ranges(*one_large_channel())["x"]
    assert layer == "conv1"
    assert loss > HOPELESS


def test_unsigned_values_have_zero_point_zero() -> None:
    model = two_convolutions()
    prepared = prepare(model, "net")
    module = GraphModule(prepared).eval()
    samples = samples_for(model, smooth_images(30, 16))
    plan, params = quantize_activations(Run(prepared, samples), module)
    ranges = measure(module, plan.groups, samples, CPU, silent)
    assert set(params) == {group.name for group in plan.groups}
    signed = {group.name: group.signed for group in plan.groups}
    assert set(signed.values()) == {True, False}
    for name, found in params.items():
        low, high = ranges[name].all.low, ranges[name].all.high
        assert found.zero_point == (pytest.approx(-255 * low / (high - low), abs=1) if low else 0)
        assert (low < 0) == signed[name]


def test_hopeless_ranges_stay_float_and_inspect_says_so(tmp_path: Path) -> None:
    model, images = one_large_channel()
    subbyte.compress(model, tmp_path / "a.onnx", images, method="scalar")
    rows = {row["name"]: row for row in inspect(tmp_path / "a.onnx").layers}
    assert rows["conv1"]["activations"] == "float"
    assert "range not fit for 8 bits" in rows["conv1"]["reason"]
    assert "of conv1's output lost" in rows["conv1"]["reason"]
    session = subbyte.load(tmp_path / "a.onnx")
    assert np.isfinite(np.asarray(session.run(images[:3]))).all()


def test_ordinary_ranges_are_carried(tmp_path: Path) -> None:
    subbyte.compress(
        two_convolutions(), tmp_path / "a.onnx", smooth_images(40, 16), method="scalar"
    )
    rows = inspect(tmp_path / "a.onnx").layers
    assert [row["activations"] for row in rows] == ["int8", "int8"]


def test_float_activations_on_request(tmp_path: Path) -> None:
    subbyte.compress(
        two_convolutions(),
        tmp_path / "a.onnx",
        smooth_images(40, 16),
        method="scalar",
        activations="float",
    )
    rows = inspect(tmp_path / "a.onnx").layers
    assert {row["activations"] for row in rows} == {"float"}
    assert {row["reason"] for row in rows} == {"--activations float"}


def test_dead_network_is_written(tmp_path: Path) -> None:
    """All samples zero: every value is zero, and the file still runs."""
    zeros = np.zeros((4, 16, 8, 8), np.float32)
    subbyte.compress(two_convolutions(), tmp_path / "a.onnx", zeros, method="scalar")
    assert not np.asarray(subbyte.load(tmp_path / "a.onnx").run(zeros)).any()
