"""The range of a group: least expected error, hardly any clipping; the network's own values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.calibration.value_ranges import (
    BINS,
    CLIPPED,
    FOLDS,
    LEAST_TO_DEAL,
    Histogram,
    Range,
    best_range,
    dealt,
    measure,
)
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import silent
from tests.compression.nets import CPU, Array, normal, samples_for, smooth_images, two_convolutions


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


def test_ranges_are_what_the_network_gives() -> None:
    model, data = two_convolutions(), smooth_images(30, 16)
    prepared = prepare(model, "net")
    module = GraphModule(prepared).eval()
    groups = plan_islands(prepared).groups
    ranges = measure(module, groups, samples_for(model, data), CPU, silent)
    found = {v.name: ranges[g.name].all for g in groups for v in g.values}
    assert 1.001 * data.min() <= found["x"].low <= 0.9 * data.min()
    assert 0.9 * np.abs(data).max() <= found["x"].high <= 1.001 * np.abs(data).max()
    with torch.no_grad():
        c1 = torch.conv2d(
            torch.from_numpy(data),
            module.constant("conv1.weight"),
            padding=1,
        )
    inner = next(g for g in groups if {"c1", "r1"} & {v.name for v in g.values})
    assert ranges[inner.name].all.low == 0.0
    assert 0.9 * float(c1.max()) <= ranges[inner.name].all.high <= 1.001 * float(c1.max())


def test_samples_are_dealt_in_turn() -> None:
    samples = samples_for(two_convolutions(), smooth_images(LEAST_TO_DEAL + 1, 16))
    places = [list(fold.places) for fold in dealt(samples)]
    assert places == [list(range(fold, len(samples), FOLDS)) for fold in range(FOLDS)]
    assert [list(fold.places) for fold in dealt(samples, 5)] == [[0, 1, 2, 3, 4]]


def ranges_of(data: Array) -> tuple[Range, tuple[Range, ...]]:
    """Of the input x, whose group is its own."""
    model = two_convolutions()
    prepared = prepare(model, "net")
    module, groups = GraphModule(prepared).eval(), plan_islands(prepared).groups
    found = measure(module, groups, samples_for(model, data), CPU, silent)
    group = next(g for g in groups if "x" in {value.name for value in g.values})
    return found[group.name].all, found[group.name].without


def test_a_range_without_a_fold_knows_nothing_of_its_samples() -> None:
    """The second sample is the loudest: only the ranges with it reach so far."""
    data = smooth_images(20, 16)
    data[1] *= 2.5
    every, without = ranges_of(data)
    assert len(without) == FOLDS
    quiet = float(np.delete(data, 1, 0).max())
    assert without[1].high <= 1.03 * quiet < 0.9 * every.high
    assert all(without[fold].high == pytest.approx(every.high, rel=0.2) for fold in (0, 2, 3))


@pytest.mark.parametrize("count", [1, LEAST_TO_DEAL - 1])
def test_few_samples_are_one_fold_with_the_range_of_all(count: int) -> None:
    every, without = ranges_of(smooth_images(count, 16))
    assert without == (every,)
