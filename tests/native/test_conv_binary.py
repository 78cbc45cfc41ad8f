"""Native binary layers against the function bodies, on inputs of the whole range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.binary.form import MOST_ORDER, SCALES, Scales
from tests.graph.coding import code_binary
from tests.native.nodes.coded_layers import WINDOWS
from tests.native.nodes.operators import Node, assert_close, layer, random_codes, refusal

Q = {"x": (0.02, 128), "y": (0.05, 100), "r": (0.03, 7), "m": (0.08, 128)}


def code(shape: WeightShape, order: int = 2, scales: Scales = "column") -> CodedWeight:
    weight = np.random.default_rng(1).standard_normal((shape.outputs, shape.taps, shape.inputs))
    weight = weight.astype(np.float32) / np.sqrt(shape.taps * shape.inputs)
    return code_binary(weight, shape, order, scales)


def conv(order: int = 2, scales: Scales = "column", window: str = "3x3", groups: int = 1) -> Node:
    taps = int(np.prod(WINDOWS[window]["kernel_shape"]))
    coded = code(WeightShape(20 * groups, taps, 37, groups), order, scales)
    feeds = {"x": random_codes((2, 8, 7, 37 * groups), 0, 255)}
    return layer(coded, "Conv", "", feeds, {**WINDOWS[window], "group": groups}, Q)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("order", range(1, MOST_ORDER + 1))
def test_every_variant(order: int, scales: Scales) -> None:
    node = conv(order, scales)
    expected = node.run(native=False)
    assert len(np.unique(expected)) > 30
    assert_close(node.run(native=True), expected, share=0.002)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("window", "groups"), [("1x1", 1), ("3x2", 1), ("3x2", 3)])
def test_windows_and_groups(window: str, groups: int, scales: Scales) -> None:
    node = conv(3, scales, window, groups)
    assert_close(node.run(native=True), node.run(native=False), share=0.002)


def test_a_value_that_is_the_mean_has_the_same_sign() -> None:
    """Columns of 1, 2 and 3 have the mean 2: r_1 is 0 there, in both."""
    node = conv(2, "column", "1x1")
    levels = np.random.default_rng(2).integers(1, 4, (2, 8, 7, 36))
    levels[..., :12], levels[..., 12:24], levels[..., 24:] = 1, 2, 3
    x = np.concatenate([levels, np.full((2, 8, 7, 1), 2)], -1)
    node.feeds["x"] = (x + 128).astype(np.uint8)
    np.testing.assert_array_equal(node.run(native=True), node.run(native=False))


@pytest.mark.parametrize("scales", SCALES)
def test_sum(scales: Scales) -> None:
    taps = {**WINDOWS["3x3"], "group": 1}
    feeds = {"x": random_codes((2, 8, 7, 19), 0, 255), "r": random_codes((2, 8, 7, 70), 0, 255, 3)}
    node = layer(code(WeightShape(70, 9, 19), 2, scales), "Conv", "Add", feeds, taps, Q)
    assert_close(node.run(native=True), node.run(native=False), share=0.01)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("form", ["", "Dequant"])
def test_rows_of_a_linear_layer_are_columns(form: str, scales: Scales) -> None:
    feeds = {"x": random_codes((2, 3, 190), 0, 255)}
    node = layer(code(WeightShape(30, 1, 190), 2, scales), "Linear", form, feeds, {}, Q)
    actual, expected = node.run(native=True), node.run(native=False)
    if form:
        np.testing.assert_allclose(actual, expected, atol=2e-5)
    else:
        assert_close(actual, expected)


def test_scores_of_an_image() -> None:
    taps = {**WINDOWS["3x3"], "group": 1}
    feeds = {"x": random_codes((2, 8, 7, 19), 0, 255)}
    node = layer(code(WeightShape(70, 9, 19), 2, "image"), "Conv", "Dequant", feeds, taps, Q)
    np.testing.assert_allclose(node.run(native=True), node.run(native=False), atol=2e-5)


def test_threads_do_not_change_the_result() -> None:
    for scales in SCALES:
        node = conv(2, scales)
        node.feeds["x"] = random_codes((9, 24, 25, 37), 0, 255, 6)
        np.testing.assert_array_equal(node.run(True, threads=3), node.run(True, threads=1))


BROKEN: dict[str, tuple[str, Any]] = {
    "signs": ("signs: expected [833, 1], got [832, 1]", np.zeros((832, 1), np.uint8)),
    "scale": ("scale: expected [20], got [19]", np.zeros(19, np.float16)),
    "bias": ("bias: expected [20], got", np.zeros(21, np.float32)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_constants_name_the_node(name: str) -> None:
    node = conv()
    message, node.constants[name] = BROKEN[name]
    assert refusal(node).startswith(f"subbyte BinaryColumn2Conv node 'layer': {message}")


def test_bad_attributes_name_the_node() -> None:
    node = conv()
    node.attributes["weight_shape"] = [20, 9, 38]
    assert "signs: expected [855, 1], got [833, 1]" in refusal(node)
    node.attributes["weight_shape"] = [20, 8, 37]
    assert "attribute weight_shape: expected [20, 9, 37], got [20, 8, 37]" in refusal(node)


def test_more_values_than_a_count_holds() -> None:
    node = conv()
    node.attributes["weight_shape"] = [1, 9, (1 << 24) // 9 + 1]
    node.constants["signs"] = np.zeros(((9 * ((1 << 24) // 9 + 1) + 7) // 8, 1), np.uint8)
    for name, kind in (("scale", np.float16), ("bias", np.float32)):
        node.constants[name] = np.ones(1, kind)
    assert "products of a sum: expected at most 16777216" in refusal(node)
