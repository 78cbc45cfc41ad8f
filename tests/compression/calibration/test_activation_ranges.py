"""Ranges of activations: least expected error, hardly any clipping, and what is hopeless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import subbyte
from subbyte.compression.calibration.activation_ranges import (
    BINS,
    CLIPPED,
    HOPELESS,
    Histogram,
    best_range,
    input_losses,
    measure,
    quantize_activations,
)
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import silent
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import CPU, Array, normal, samples_for, smooth_images


def histogram(values: Array) -> Histogram:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    counts, _ = np.histogram(values, BINS, (low, high))
    return Histogram(low, high, counts.astype(np.float64))


def carried_error(values: Array, low: float, high: float) -> float:
    """Mean squared error of carrying ``values`` in uint8 over [low, high]."""
    step = (high - low) / 255
    got = np.clip(np.rint(values / step), low / step, high / step) * step
    return float(((got - values) ** 2).mean())


def test_uniform_values_keep_their_extreme() -> None:
    values = np.random.default_rng(0).uniform(0, 3, 200_000)
    found = best_range(histogram(values))
    assert (found.low, found.high) == (0.0, pytest.approx(3.0, rel=1e-3))


def test_the_ends_of_signed_values_are_apart() -> None:
    found = best_range(histogram(np.random.default_rng(0).uniform(-1, 3, 200_000)))
    assert found.low == pytest.approx(-1.0, rel=1e-3)
    assert found.high == pytest.approx(3.0, rel=1e-3)


def test_values_below_zero_alone() -> None:
    found = best_range(histogram(np.random.default_rng(0).uniform(-3, 0, 200_000)))
    assert (found.low, found.high) == (pytest.approx(-3.0, rel=1e-3), 0.0)


def test_very_rare_outliers_are_clipped() -> None:
    values = np.abs(normal(0, 400_000))
    largest = float(values.max())
    values[0] = 12.0
    found = histogram(values)
    found.counts[:-1] *= 1000
    assert 0.75 * largest < best_range(found).high < 1.1 * largest


def test_outliers_that_are_not_rare_are_kept() -> None:
    values = np.abs(normal(0, 100_000))
    values[:100] = 12.0
    assert best_range(histogram(values)).high == pytest.approx(12.0, rel=0.02)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.floats(0, 0.01),
    st.floats(1, 50),
    st.booleans(),
    st.sampled_from(["normal", "uniform", "exponential"]),
)
def test_hardly_anything_is_clipped(
    seed: int, share: float, size: float, signed: bool, shape: str
) -> None:
    rng = np.random.default_rng(seed)
    values = getattr(rng, shape)(size=20_000)
    outliers = rng.random(20_000) < share
    values = np.where(outliers, values * size, values)
    values = values if signed else np.abs(values)
    found = best_range(histogram(values))
    # A value in the bin at the edge may stick out by a part of that bin.
    edge = (max(0.0, values.max()) - min(0.0, values.min())) / BINS
    assert ((values > found.high + edge) | (values < found.low - edge)).mean() <= CLIPPED
    assert found.high <= max(0.0, values.max()) * (1 + 1e-9)
    assert found.low >= min(0.0, values.min()) * (1 + 1e-9)


def test_range_is_the_best_of_a_search() -> None:
    rng = np.random.default_rng(0)
    values = np.abs(rng.standard_normal(200_000)) ** 3
    found = best_range(histogram(values))
    ours = carried_error(values, found.low, found.high)
    allowed = np.quantile(values, 1 - CLIPPED)
    for high in np.linspace(allowed, values.max(), 30):
        assert ours <= 1.05 * carried_error(values, 0.0, high)


def test_both_ends_are_the_best_of_a_search() -> None:
    """Far more above zero than below, with long tails: either end has its own best place."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200_000) ** 3
    values = np.where(values > 0, values, 0.1 * values)
    found = best_range(histogram(values))
    ours = carried_error(values, found.low, found.high)
    assert -found.low < 0.2 * found.high
    assert found.high < 0.9 * values.max()
    for low in np.linspace(values.min(), np.quantile(values, CLIPPED / 2), 8):
        for high in np.linspace(np.quantile(values, 1 - CLIPPED / 2), values.max(), 8):
            assert ours <= 1.05 * carried_error(values, low, high)


def test_values_that_are_all_zero() -> None:
    found = best_range(Histogram(0.0, 0.0, np.zeros(BINS)))
    assert (found.low, found.high) == (0.0, 0.0)


# On a network


def network(activation: str = "Relu", gain: float = 1.0, width: int = 16) -> onnx.ModelProto:
    """Two convolutions with ``activation`` between them, and a sum over the map after."""
    weights = {
        "conv1.weight": normal(1, width, 16, 3, 3) / 12,
        "conv1.bias": np.zeros(width, np.float32),
        "conv2.weight": normal(2, width, width, 3, 3) / 12 * gain,
        "conv2.bias": np.zeros(width, np.float32),
    }
    nodes = [
        tiny.conv("conv1", "x", "c1"),
        helper.make_node(activation, ["c1"], ["r1"], "act1"),
        tiny.conv("conv2", "r1", "c2"),
        helper.make_node("GlobalAveragePool", ["c2"], ["y"], "pool"),
    ]
    shape: list[int | str] = ["N", 16, 8, 8]
    return tiny.build(nodes, weights, {"x": shape}, {"y": ["N", width, 1, 1]})


def rounded_ranges(model: onnx.ModelProto, data: Array) -> dict[str, tuple[float, str]]:
    prepared = prepare(model, "net")
    module, samples = GraphModule(prepared).eval(), samples_for(model, data)
    plan = plan_islands(prepared)
    ranges = measure(module, plan.groups, samples, CPU, silent)
    params = {g.name: g.params(ranges[g.name].low, ranges[g.name].high) for g in plan.groups}
    return input_losses(Run(prepared, samples), module, plan, params)


def test_ranges_are_what_the_network_gives() -> None:
    model, data = network(), smooth_images(30, 16)
    prepared = prepare(model, "net")
    module = GraphModule(prepared).eval()
    groups = plan_islands(prepared).groups
    ranges = measure(module, groups, samples_for(model, data), CPU, silent)
    found = {v.name: ranges[g.name] for g in groups for v in g.values}
    assert 1.001 * data.min() <= found["x"].low <= 0.9 * data.min()
    assert 0.9 * np.abs(data).max() <= found["x"].high <= 1.001 * np.abs(data).max()
    with torch.no_grad():
        c1 = torch.conv2d(
            torch.from_numpy(data),
            module.constant("conv1.weight"),
            padding=1,
        )
    inner = next(g for g in groups if {"c1", "r1"} & {v.name for v in g.values})
    assert ranges[inner.name].low == 0.0
    assert 0.9 * float(c1.max()) <= ranges[inner.name].high <= 1.001 * float(c1.max())


def test_losses_of_rounding_are_small_on_ordinary_data() -> None:
    losses = rounded_ranges(network(), smooth_images(30, 16))
    assert len(losses) == 2
    assert all(0 < loss < HOPELESS / 10 for loss, _ in losses.values())


def one_large_channel() -> tuple[onnx.ModelProto, Array]:
    """x's first channel is huge, and the layer hardly reads it: what it reads is lost."""
    model, data = network(), smooth_images(30, 16)
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
    model = network()
    prepared = prepare(model, "net")
    module = GraphModule(prepared).eval()
    samples = samples_for(model, smooth_images(30, 16))
    plan, params = quantize_activations(Run(prepared, samples), module)
    ranges = measure(module, plan.groups, samples, CPU, silent)
    assert set(params) == {group.name for group in plan.groups}
    signed = {group.name: group.signed for group in plan.groups}
    assert set(signed.values()) == {True, False}
    for name, found in params.items():
        low, high = ranges[name].low, ranges[name].high
        assert found.zero_point == (pytest.approx(-255 * low / (high - low), abs=1) if low else 0)
        assert (low < 0) == signed[name]


def test_hopeless_ranges_stay_float_and_inspect_says_so(tmp_path: Path) -> None:
    model, images = one_large_channel()
    subbyte.compress(model, tmp_path / "a.onnx", images, method="scalar")
    rows = {row["name"]: row for row in inspect(tmp_path / "a.onnx")["layers"]}
    assert rows["conv1"]["activations"] == "float"
    assert "range not fit for 8 bits" in rows["conv1"]["reason"]
    assert "of conv1's output lost" in rows["conv1"]["reason"]
    session = subbyte.load(tmp_path / "a.onnx")
    assert np.isfinite(np.asarray(session.run(images[:3]))).all()


def test_ordinary_ranges_are_carried(tmp_path: Path) -> None:
    subbyte.compress(network(), tmp_path / "a.onnx", smooth_images(40, 16), method="scalar")
    rows = inspect(tmp_path / "a.onnx")["layers"]
    assert [row["activations"] for row in rows] == ["int8", "int8"]


def test_float_activations_on_request(tmp_path: Path) -> None:
    subbyte.compress(
        network(), tmp_path / "a.onnx", smooth_images(40, 16), method="scalar", activations="float"
    )
    rows = inspect(tmp_path / "a.onnx")["layers"]
    assert {row["activations"] for row in rows} == {"float"}
    assert {row["reason"] for row in rows} == {"--activations float"}


def test_dead_network_is_written(tmp_path: Path) -> None:
    """All samples zero: every value is zero, and the file still runs."""
    zeros = np.zeros((4, 16, 8, 8), np.float32)
    subbyte.compress(network(), tmp_path / "a.onnx", zeros, method="scalar")
    assert not np.asarray(subbyte.load(tmp_path / "a.onnx").run(zeros)).any()
