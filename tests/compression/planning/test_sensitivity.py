"""How much of a layer's error its readers see."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from subbyte.compression.calibration.statistics import collect
from subbyte.compression.planning.sensitivity import LEAST_SENSITIVITY, sensitivities_of
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from tests import tiny
from tests.compression.nets import CPU, Array, normal, samples_for, smooth_images

SHAPE: list[int | str] = ["N", 3, 8, 8]


def gains_of(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], out: list[int | str]
) -> dict[str, float]:
    model = tiny.build(nodes, weights, {"x": SHAPE}, {"y": out})
    network: Network = prepare(model, "net")
    module = GraphModule(network).eval()
    samples = samples_for(model, smooth_images(16))
    layers = list(network.layers)
    statistics = collect(module, layers, samples, CPU)
    return sensitivities_of(module, layers, statistics, samples, CPU)


def conv(data: str, weight: str, output: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [data, weight], [output], output)


def test_the_branch_that_counts_little_in_a_sum_has_a_small_gain() -> None:
    weights = {name: normal(seed, 32, 3, 1, 1) for seed, name in enumerate(("a", "b"))}
    weights["b"] *= 0.1
    weights["c"] = normal(5, 32, 32, 1, 1)
    nodes = [conv("x", "a", "ya"), conv("x", "b", "yb")]
    nodes += [helper.make_node("Add", ["ya", "yb"], ["s"]), conv("s", "c", "y")]
    gains = gains_of(nodes, weights, ["N", 32, 8, 8])
    assert gains["a"] / gains["b"] == pytest.approx(100, rel=0.5)
    assert gains["c"] == pytest.approx(1)


def test_pooling_does_not_average_the_error_of_a_weight_away() -> None:
    # Images of one color each: what a weight adds is alike all over them, and pooling keeps it.
    # Of white noise in the output of 8 x 8 it would leave a 64th.
    weights = {"a": normal(0, 4, 3, 1, 1), "b": normal(1, 5, 4, 1, 1)}
    weights["zeros"] = np.zeros((1, 1, 8, 8), np.float32)
    plain = [helper.make_node("GlobalAveragePool", ["x"], ["color"])]
    plain += [helper.make_node("Add", ["color", "zeros"], ["c"]), conv("c", "a", "ya")]
    pool = helper.make_node("GlobalAveragePool", ["ya"], ["p"])
    direct = gains_of([*plain, conv("ya", "b", "y")], weights, ["N", 5, 8, 8])
    pooled = gains_of([*plain, pool, conv("p", "b", "y")], weights, ["N", 5, 1, 1])
    assert pooled["a"] == pytest.approx(direct["a"], rel=1e-2)


def test_what_a_bias_makes_good_does_not_count() -> None:
    # Inputs higher by 10, and a bias that takes it back: noise in the weight adds a constant.
    weights = {"a": normal(0, 16, 3, 1, 1), "b": normal(1, 5, 16, 1, 1)}
    behind = [helper.make_node("Relu", ["ya"], ["r"]), conv("r", "b", "y")]
    plain = gains_of([conv("x", "a", "ya"), *behind], weights, ["N", 5, 8, 8])
    lift = {"ten": np.full((), 10, np.float32), "back": -10 * weights["a"].sum((1, 2, 3))}
    lifted = [helper.make_node("Add", ["x", "ten"], ["x10"])]
    lifted += [helper.make_node("Conv", ["x10", "a", "back"], ["ya"], "ya")]
    assert gains_of([*lifted, *behind], weights | lift, ["N", 5, 8, 8])["a"] == pytest.approx(
        plain["a"], rel=1e-2
    )


def test_several_readers_count_alike() -> None:
    weights = {"a": normal(0, 4, 3, 1, 1), "b": normal(1, 5, 4, 1, 1), "c": normal(2, 5, 4, 1, 1)}
    first = conv("x", "a", "ya")
    pool = helper.make_node("GlobalAveragePool", ["ya"], ["p"])
    direct = gains_of([first, conv("ya", "b", "y")], weights, ["N", 5, 8, 8])
    pooled = gains_of([first, pool, conv("p", "c", "y")], weights, ["N", 5, 1, 1])
    both = [conv("ya", "b", "yb"), pool, conv("p", "c", "yc")]
    both.append(helper.make_node("Add", ["yb", "yc"], ["y"]))
    found = gains_of([first, *both], weights, ["N", 5, 8, 8])
    assert found["a"] == pytest.approx((direct["a"] + pooled["a"]) / 2, rel=1e-3)


def test_only_the_next_layers_are_looked_at() -> None:
    weights = {"a": normal(0, 4, 3, 1, 1), "b": normal(1, 4, 4, 1, 1), "c": normal(2, 4, 4, 1, 1)}
    nodes = [conv("x", "a", "ya"), conv("ya", "b", "yb")]
    two = gains_of([*nodes[:1], conv("ya", "b", "y")], weights, ["N", 4, 8, 8])
    three = gains_of([*nodes, conv("yb", "c", "y")], weights, ["N", 4, 8, 8])
    assert three["a"] == two["a"]


def test_what_no_reader_sees_has_the_least_gain() -> None:
    weights = {"a": normal(0, 4, 3, 1, 1), "b": normal(1, 5, 4, 1, 1)}
    scale = {"k": np.full((), 1e-4, np.float32)}
    nodes = [conv("x", "a", "ya"), helper.make_node("Mul", ["ya", "k"], ["m"])]
    nodes += [
        conv("x", "d", "yd"),
        helper.make_node("Add", ["m", "yd"], ["s"]),
        conv("s", "b", "y"),
    ]
    gains = gains_of(nodes, weights | scale | {"d": normal(3, 4, 3, 1, 1)}, ["N", 5, 8, 8])
    assert gains["a"] == LEAST_SENSITIVITY
