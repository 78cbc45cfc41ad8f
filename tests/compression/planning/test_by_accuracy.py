"""Keeping accuracy: what is estimated of a file, and which bits are chosen by it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import subbyte
from subbyte.budgets import Budget
from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.by_accuracy import plan_drop
from subbyte.compression.planning.candidates import Candidate
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.search_space import Prices
from subbyte.compression.validation import LEAST_SAMPLES, ONE_FLIP, Judge, Score, hold_back
from subbyte.data import Samples
from subbyte.errors import BudgetError, CalibrationError, OptionError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.scalar.form import ScalarOptions
from tests import tiny
from tests.compression.nets import CPU, classifier, normal, one_layer, samples_for, smooth_images

IMAGES = smooth_images(96, size=6)
MODEL = classifier(IMAGES)


# Samples held back


def test_samples_are_divided() -> None:
    samples = samples_for(MODEL, IMAGES)
    fit, held = hold_back(samples, 0.25, seed=3)
    assert (len(fit), len(held)) == (72, 24)
    rows = {
        part: {x.tobytes() for b in part.batches(1) for x in b.values()} for part in (fit, held)
    }
    assert not rows[fit] & rows[held]
    assert hold_back(samples, 0.25, seed=3)[1].fingerprint() == held.fingerprint()
    with pytest.raises(CalibrationError, match=rf"held back.*expected {LEAST_SAMPLES}, got 7"):
        hold_back(samples.first(7), 0.25, seed=0)


# Scores


def linear(weight: np.ndarray, path: Path) -> Path:
    """x [N, 3] -> class scores x @ weight."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "layer")
    model = tiny.build([node], {"w": weight}, {"x": ["N", 3]}, {"y": ["N", 3]})
    return tiny.save(model, path)


def score_of(scores: np.ndarray, changed: np.ndarray, folder: Path) -> Score:
    """Of a network that gives ``scores`` where ``changed`` are wanted; x is the unit matrix."""
    path = linear(scores, folder / "net.onnx")
    samples: Samples = samples_for(onnx.load(path), np.eye(3, dtype=np.float32))
    return Judge(prepare(onnx.load(path), "net"), samples, CPU).score(
        linear(changed, folder / "changed.onnx")
    )


def test_the_same_network_loses_nothing(tmp_path: Path) -> None:
    weight = normal(0, 3, 3)
    found = score_of(weight, weight, tmp_path)
    assert found.divergence == pytest.approx(0, abs=1e-6)
    assert (found.agreement, found.lost) == (100, 0)
    assert found.uncertainty == pytest.approx(100 * ONE_FLIP / 3)


def test_what_a_flip_costs(tmp_path: Path) -> None:
    weight = np.log(np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]], np.float32))
    changed = weight.copy()
    changed[0] = np.log([0.3, 0.6, 0.1])
    found = score_of(weight, changed, tmp_path)
    assert found.agreement == pytest.approx(200 / 3)
    assert found.lost == pytest.approx(100 * 0.3 / 3, rel=1e-5)
    assert found.uncertainty == pytest.approx(100 * math.hypot(0.3, ONE_FLIP) / 3, rel=1e-5)
    assert found.divergence == pytest.approx(0.3 * math.log(2) / 3, rel=1e-5)
    assert found.each == pytest.approx([0.3 * math.log(2), 0, 0], abs=1e-6)


def test_other_outputs_have_a_divergence_only(tmp_path: Path) -> None:
    model = tiny.build(
        [helper.make_node("Conv", ["x", "w"], ["y"], "layer")],
        {"w": normal(0, 4, 3, 1, 1)},
        {"x": ["N", 3, 4, 4]},
        {"y": ["N", 4, 4, 4]},
    )
    samples = samples_for(model, normal(1, 8, 3, 4, 4))
    found = Judge(prepare(model, "net"), samples, CPU).score(tiny.save(model, tmp_path / "a.onnx"))
    assert found == Score(pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_samples_add_up_to_the_divergence_of_all(chunk: int, tmp_path: Path) -> None:
    """Of a map, of which one sample is constant, and of one number a sample."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"], "layer"),
        helper.make_node("ReduceMean", ["map", "axes"], ["mean"], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["number"]),
    ]
    weight, axes = normal(0, 1, 3, 1, 1), np.array([2, 3])
    x = normal(1, 8, 3, 4, 4)
    x[3] = 0
    paths = []
    for name, factor in (("net", 1.0), ("changed", 1.1)):
        model = tiny.build(
            nodes,
            {"w": factor * weight, "axes": axes},
            {"x": ["N", 3, 4, 4]},
            {"map": ["N", 1, 4, 4], "number": ["N", 1]},
        )
        paths.append(tiny.save(model, tmp_path / f"{name}.onnx"))
    model = onnx.load(paths[0])
    found = Judge(prepare(model, "net"), samples_for(model, x), CPU, chunk).score(paths[1])
    maps = np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0])
    parts = [0.01 * np.square(y) / y.var() for y in (maps, maps.mean(axis=(2, 3)))]
    expected = sum(part.reshape(8, -1).mean(axis=1) for part in parts)
    assert found.each == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert found.divergence == pytest.approx(expected.mean(), rel=1e-3)


# The search


def prices(count: int = 6) -> Prices:
    """Layers of 1,600 weights with 2, 3, 4 and 8 bits to choose from."""
    only = one_layer("Conv", normal(0, 64, 25, 1, 1), 2, 25).layers[0]
    names = [f"w{i}" for i in range(count)]
    layers = [replace(only, weight=name) for name in names]
    found = [
        Candidate(ScalarOptions(b) if b < 8 else EIGHT_BITS, 200 * b, 4.0**-b) for b in (2, 3, 4, 8)
    ]
    return Prices(tuple(layers), dict.fromkeys(names, found), frozenset())


def bits(planned: Planned) -> float:
    assert planned.choice is not None
    stored = sum(c.bytes for c in planned.choice.chosen.values())
    return 8 * stored / 9600


@pytest.mark.parametrize("needed", [2.0, 2.7, 3.4, 5.0, 7.9])
def test_the_fewest_bits_that_pass_are_found(needed: float) -> None:
    tried: list[float] = []

    def trial(planned: Planned) -> Score:
        tried.append(bits(planned))
        return Score(0.0, 99.0, 0.1 if tried[-1] >= needed else 3.0, 0.05)

    found = plan_drop(prices(), trial, Budget("max_drop", 0.5))
    assert needed <= bits(found) <= needed + 0.8
    assert len(tried) <= 7
    assert any("0.10 points lost" in fact for fact in found.facts)
    assert found.budget == Budget("max_drop", 0.5)


def test_uncertainty_counts() -> None:
    def trial(planned: Planned) -> Score:
        return Score(0.0, 100.0, 0.0, 0.6)

    with pytest.raises(BudgetError, match=r"out of reach.*at most 0.5 points.*error 0.60"):
        plan_drop(prices(), trial, Budget("max_drop", 0.5))


@pytest.mark.parametrize(
    ("lost", "error", "got", "hint"),
    [
        (0.0, 0.6, "up to 0.99 points on 4 held-back", r"\(`max_drop=0.99` .* more calibration"),
        (2.0, 0.1, "up to 2.17 points on 4 held-back", r"\(`max_drop=2.17` is within reach\)$"),
        (99.0, 1.0, "up to 100.65 points", r"standard error 1.00\)$"),
    ],
)
def test_out_of_reach_says_how_far_it_got(lost: float, error: float, got: str, hint: str) -> None:
    def trial(planned: Planned) -> Score:
        return Score(0.0, 100.0, lost, error, each=(0.0,) * 4)

    with pytest.raises(BudgetError, match=f"even with 8 bits per weight.*{got}.*{hint}"):
        plan_drop(prices(), trial, Budget("max_drop", 0.5))


def test_the_drop_that_is_said_to_be_within_reach_is() -> None:
    def trial(planned: Planned) -> Score:
        return Score(0.0, 100.0, 2.0, 0.1)

    assert plan_drop(prices(), trial, Budget("max_drop", 2.17)).facts


def test_other_networks_are_refused() -> None:
    with pytest.raises(OptionError, match="`max_drop` needs class scores"):
        plan_drop(prices(), lambda planned: Score(0.1), Budget("max_drop", 0.5))


def test_compress_keeps_what_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    subbyte.compress(MODEL, path, IMAGES, CompressOptions(max_drop=8.0))
    samples = samples_for(MODEL, smooth_images(200, size=6, seed=7))
    found = Judge(prepare(MODEL, "net"), samples, CPU).score(path)
    assert found.lost is not None
    assert found.lost <= 8.0
    assert not torch.are_deterministic_algorithms_enabled()
