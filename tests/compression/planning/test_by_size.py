"""Planning: what is chosen for a network, within which budget."""

from __future__ import annotations

import functools
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

import subbyte
from subbyte.budgets import Budget
from subbyte.compression.calibration.statistics import LayerStatistics, collect
from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.candidates import Candidate, keeps_eight_bits, layer_candidates
from subbyte.compression.planning.make import make_plan
from subbyte.compression.planning.plan_file import Plan
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network, UncodedConstant
from subbyte.methods import (
    EIGHT_BITS,
    Composite,
    MethodChoice,
    MethodOptions,
    Product,
    Ternary,
    stored_bytes,
)
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import CPU, matmul, normal, one_layer, samples_for, weight_of

MODEL = tiny.classifier(tiny.conv_weights(width=32))
IMAGES = normal(0, 24, 3, 6, 6)
COUNT = 32 * 27 + 32 * 32 * 9 + 4 * 32


def plan_anew(**options: object) -> Plan:
    wanted = CompressOptions(**options)  # type: ignore[arg-type]
    samples = samples_for(MODEL, IMAGES)
    return make_plan(Run(prepare(MODEL, "net"), samples, wanted)).plan


planned = functools.cache(plan_anew)


def bits_of(plan: Plan) -> float:
    layers = {layer.weight: layer for layer in prepare(MODEL, "net").layers}
    return 8 * sum(stored_bytes(layers[w].shape, options) for w, options in plan.items()) / COUNT


# Plans of a network


@pytest.mark.parametrize("method", ["product", "scalar", "ternary", "composite"])
@pytest.mark.parametrize("bits", [1.9, 2.5, 3.3])
def test_budget_holds_in_the_file(method: str, bits: float, tmp_path: Path) -> None:
    if method == "scalar" and bits < 2:
        bits = 2.9
    options = {"method": method, "bits": bits, "activations": "float"}
    found = subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, **options)
    result = inspect(tmp_path / "a.onnx")
    assert result.weight_count == COUNT
    assert result.bits_per_weight <= bits
    rows = {row["name"]: row["bytes"] for row in result.layers}
    if method == "composite":
        assert 0.9 * bits_of(found.plan) < result.bits_per_weight <= bits_of(found.plan)
    else:
        assert result.bits_per_weight == pytest.approx(bits_of(found.plan), abs=1e-9)
    for layer in prepare(MODEL, "net").layers:
        most = stored_bytes(layer.shape, found.plan[layer.weight])
        assert rows[layer.name] <= most if method == "composite" else rows[layer.name] == most


@pytest.mark.parametrize("method", ["product", "scalar", "ternary", "composite"])
def test_at_eight_bits_all_layers_have_eight(method: str) -> None:
    found = planned(method=method, bits=8.0)
    assert set(found.values()) == {EIGHT_BITS}
    assert 8 < bits_of(found) < 8.2  # scales come on top


def test_at_eight_bits_there_is_nothing_to_try(tmp_path: Path) -> None:
    stages = set()
    given = {"bits": 8.0, "trials": 3, "progress": lambda stage, *_: stages.add(stage)}
    found = subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, **given)  # type: ignore[arg-type]
    assert set(found.plan.values()) == {EIGHT_BITS}
    assert not any(stage.startswith("trial") for stage in stages)
    assert stages


def test_eight_bits_with_scales_and_constants_on_top_are_said() -> None:
    samples = samples_for(MODEL, IMAGES)
    network = replace(
        prepare(MODEL, "net"), uncoded=(UncodedConstant("mask", 2048, 8192, "FLOAT", "all"),)
    )
    found = make_plan(Run(network, samples, CompressOptions(bits=8.0)))
    assert set(found.plan.values()) == {EIGHT_BITS}
    (said,) = found.facts
    assert re.fullmatch(
        r"8-bit codes .*: with scales and constants that are not coded 1\d\.\d+ bits .*", said
    )


def test_larger_budgets_are_used() -> None:
    used = [bits_of(planned(bits=bits)) for bits in (1.8, 2.2, 2.6, 3.0, 3.6)]
    assert used == sorted(used)
    assert all(bits - 0.35 < got <= bits for got, bits in zip(used, (1.8, 2.2, 2.6), strict=False))


def test_group_is_the_least_allowed_with_bits() -> None:
    forms = [
        o
        for o in planned(bits=1.8, method=Product(group=4)).values()
        if isinstance(o, ProductOptions)
    ]
    assert forms
    assert all(o.group >= 4 for o in forms)


def test_gain_is_the_one_asked_for() -> None:
    for gain in (0, 2):
        forms = [
            o
            for o in planned(bits=2.2, method=Product(gain=gain)).values()
            if isinstance(o, ProductOptions)
        ]
        assert forms
        assert {o.gain for o in forms} == {gain}


def test_two_bits_where_neither_budget_nor_method_is_given() -> None:
    assert CompressOptions().budget == CompressOptions(tune=2).budget == Budget("bits", 2.0)
    assert CompressOptions(method=("product", "scalar")).budget == Budget("bits", 2.0)
    assert CompressOptions().by_default
    assert not CompressOptions(bits=2.0).by_default
    for said in ({"method": "ternary"}, {"plan": "a.toml"}, {"method": Product(group=4)}):
        assert CompressOptions(**said).budget is None
    assert CompressOptions(size=1).budget == Budget("size", 1.0)


def test_plan_without_bits() -> None:
    assert planned(method="product") == {
        "conv1.weight": EIGHT_BITS,
        "conv2.weight": ProductOptions(4, 16, 3),
        "head.weight": EIGHT_BITS,
    }
    assert planned(method=Product(group=6, gain=0))["conv2.weight"] == ProductOptions(6, 16, 0)
    assert planned(method="scalar")["conv2.weight"] == ScalarOptions(4)
    assert planned(method="composite")["conv2.weight"] == CompositeOptions(planes=4)
    paper = CompositeOptions(procedure="paper", planes=6, bottleneck=0.3)
    assert planned(method=Composite(procedure="paper", bottleneck=0.3))["conv2.weight"] == paper
    paper = ProductOptions(8, 128, procedure="paper")
    assert planned(method=Product(procedure="paper"))["conv2.weight"] == paper
    assert planned(method="ternary")["conv2.weight"] == TernaryOptions(32)
    assert planned(method=Ternary(rank_ratio=1.5))["conv2.weight"] == TernaryOptions(48)
    assert planned(method=Ternary(rank_ratio=1.5, rank=20))["conv2.weight"] == TernaryOptions(20)


def test_precise_layers_keep_eight_bits_while_they_can() -> None:
    plan = planned(bits=2.0)
    assert plan["conv1.weight"] == plan["head.weight"] == EIGHT_BITS
    low = planned(bits=1.3)
    assert bits_of(low) <= 1.3
    assert {low["conv1.weight"], low["head.weight"]} != {EIGHT_BITS}


def kept(network: Network) -> bool:
    return keeps_eight_bits(network.layers[0])


def test_which_layers_keep_eight_bits() -> None:
    plain = normal(0, 32, 32, 3, 3)
    assert not kept(one_layer("Conv", plain, 2, 32))
    assert not kept(one_layer("Conv", plain[:, :8], 2, 32, group=4))
    assert kept(one_layer("Conv", normal(0, 1200, 1, 3, 3), 2, 1200, group=1200))
    assert kept(one_layer("Conv", normal(0, 100, 3, 7, 7), 2, 3))
    assert kept(one_layer("Conv", normal(0, 10, 102, 1, 1), 2, 102))
    assert not kept(one_layer("Conv", normal(0, 16, 64, 1, 1), 2, 64))
    assert kept(one_layer("Conv", normal(0, 200, 15, 1, 1), 2, 15))


@pytest.mark.parametrize("method", ["product", "scalar", "ternary", "composite"])
def test_out_of_reach_names_the_least_that_works(method: str) -> None:
    with pytest.raises(BudgetError, match=r"`bits` out of reach.*got 0\.5") as error:
        planned(method=method, bits=0.5)
    named = re.search(r"at least ([0-9.]+) bits", str(error.value))
    assert named is not None
    least = float(named[1])
    assert bits_of(planned(method=method, bits=least)) <= least
    with pytest.raises(BudgetError):
        planned(method=method, bits=least - 0.002)


def test_plan_is_the_same_twice_and_the_seed_matters_little() -> None:
    assert planned(bits=2.2) == plan_anew(bits=2.2)
    assert abs(bits_of(planned(bits=2.2, seed=5)) - bits_of(planned(bits=2.2))) < 0.3


def test_options_that_exclude_each_other(tmp_path: Path) -> None:
    for wrong in (
        {"method": "scalar", "group": 4},
        {"method": "scalar", "gain": 0},
        {"plan": tmp_path, "bits": 2.0},
        {"plan": tmp_path, "group": 4},
        {"bits": 9.0},
        {"bits": float("nan")},
        {"group": 5},
        {"gain": 5},
        {"tune": -1},
        {"seed": -1},
        {"method": "spline"},
        {"rank": 4},
        {"method": "ternary", "rank": 0},
        {"method": "ternary", "rank_ratio": 0.0},
        {"method": "ternary", "rank_ratio": 5.0},
        {"method": "ternary", "rank_ratio": 1.0, "bits": 2.0},
        {"planes": 4},
        {"method": "composite", "planes": 0},
        {"method": "composite", "planes": 7},
        {"method": "composite", "procedure": "guess"},
        {"method": "composite", "bottleneck": 0.2},
        {"method": "composite", "procedure": "paper", "bottleneck": 0.0},
        {"method": "composite", "procedure": "paper", "bits": 4.0},
        {"method": "ternary", "rank": 4, "plan": tmp_path},
        {"words": 17},
        {"group": 5},
        {"method": "scalar", "words": 16},
        {"method": "ternary", "procedure": "paper"},
        {"method": "composite", "procedure": "paper-plain"},
        {"procedure": "paper", "bits": 2.0},
        {"procedure": "paper-plain", "gain": 1},
        {"procedure": "paper", "plan": tmp_path},
        {"procedure": "paper", "bottleneck": 0.2},
        {"tune_linear": -1},
        {"activations": "int4"},
    ):
        with pytest.raises(OptionError):
            _options(**wrong)


def _options(method: str = "product", **options: Any) -> CompressOptions:
    """Of one method, with its own options beside those of the run."""
    run = {field.name for field in fields(CompressOptions)}
    own = {name: options.pop(name) for name in options.keys() - run}
    return CompressOptions(method=MethodChoice(method, own), **options)


# A weight that two nodes read, with another layer between them


def shared_weight() -> Network:
    weights = {"a": normal(1, 32, 32, 3, 3), "b": normal(2, 32, 32, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y1"], "first", pads=[1] * 4),
        helper.make_node("Conv", ["y1", "b"], ["y2"], "between"),
        helper.make_node("Conv", ["y2", "a"], ["y"], "again", pads=[1] * 4),
    ]
    shape: list[int | str] = ["N", 32, 6, 6]
    return prepare(tiny.build(nodes, weights, {"x": shape}, {"y": shape}), "shared")


def test_plan_for_a_weight_read_twice() -> None:
    network = shared_weight()
    samples = samples_for(tiny.build([], {}, {"x": ["N", 32, 6, 6]}, {}), normal(3, 8, 32, 6, 6))
    plan = make_plan(Run(network, samples, CompressOptions(bits=2.2))).plan
    assert set(plan) == {"a", "b"}
    layers = {layer.weight: layer for layer in network.layers}
    stored = sum(stored_bytes(layers[name].shape, options) for name, options in plan.items())
    assert 8 * stored <= 2.2 * (32 * 32 * 9 + 32 * 32)


# Candidates: what is predicted


@pytest.fixture(scope="module")
def predicted() -> list[Candidate]:
    network = prepare(MODEL, "net")
    layer = network.layers[1]
    data = collect(
        GraphModule(network).eval(), list(network.layers), samples_for(MODEL, IMAGES), CPU
    )
    return layer_candidates(
        layer, weight_of(layer), data[layer.weight], CompressOptions(bits=2.0), seed=0
    )


def test_predicted_harm_falls_with_gain_bits_and_smaller_groups(
    predicted: list[Candidate],
) -> None:
    harm: dict[MethodOptions, float] = {c.options: c.harm for c in predicted}
    for group in (2, 4, 8):
        falls = [harm[ProductOptions(group, 16, gain, False)] for gain in (0, 1, 3)]
        assert falls == sorted(falls, reverse=True)
    for gain in (0, 3):
        falls = [harm[ProductOptions(group, 16, gain, False)] for group in (8, 6, 4, 3, 2)]
        assert falls == sorted(falls, reverse=True)
    assert all(0 < c.harm < 2 for c in predicted)
    for form in harm:
        if isinstance(form, ProductOptions) and form.shared:
            assert harm[form] >= 0.9 * harm[replace(form, shared=False)]


def test_statistics_are_the_inputs_covariance() -> None:
    network = one_layer("Conv", normal(0, 8, 5, 1, 1), 2, 5)
    x = normal(1, 12, 5, 4, 4) + 0.7
    samples = samples_for(tiny.build([], {}, {"x": ["N", 5, "h", "w"]}, {}), x)
    layer = network.layers[0]
    module = GraphModule(network).eval()
    found: LayerStatistics = collect(module, [layer], samples, CPU)[layer.weight]
    rows = x.transpose(0, 2, 3, 1).reshape(-1, 5)
    assert found.blocks.shape == (1, 1, 24, 24)
    covariance = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(found.blocks[0, 0, :5, :5].numpy(), covariance, atol=1e-4)
    assert not found.blocks[0, 0, 5:].any()
    weight = weight_of(layer)[:, 0].numpy()
    energy = np.trace(weight @ covariance @ weight.T)
    assert found.energy == pytest.approx(energy, rel=1e-3)


def outlier_network() -> tuple[Network, Samples]:
    """One linear layer, two of whose 96 inputs have nearly all the variance."""
    network = matmul(normal(0, 96, 64), 2, left=False)
    x = normal(1, 256, 96)
    x[:, [5, 70]] *= 60
    return network, samples_for(tiny.build([], {}, {"x": ["N", 96]}, {}), x)


def test_damping_adds_to_every_input() -> None:
    network, samples = outlier_network()
    layer = network.layers[0]
    data = collect(GraphModule(network).eval(), [layer], samples, CPU)[layer.weight]
    damped = data.damped(0.1)
    added = (damped.blocks - data.blocks).diagonal(dim1=2, dim2=3)
    mean = float(data.blocks.diagonal(dim1=2, dim2=3).sum()) / 96
    torch.testing.assert_close(added, torch.full_like(added, 0.1 * mean), rtol=1e-3, atol=0)
    assert damped.energy == data.energy


def test_predicted_harm_knows_where_the_energy_is() -> None:
    """Whichever channel groups are sampled, few of them with most of the energy."""
    network, samples = outlier_network()
    layer = network.layers[0]
    data = collect(GraphModule(network).eval(), [layer], samples, CPU)[layer.weight]
    options = CompressOptions(bits=2.0, method=Product(group=2, gain=0))
    harms = [
        next(
            c.harm
            for c in layer_candidates(layer, weight_of(layer), data, options, seed)
            if c.options == ProductOptions(2, 16, 0)
        )
        for seed in range(12)
    ]
    # Uniform draws of groups are 20-fold apart here.
    assert max(harms) < 5 * min(harms)
