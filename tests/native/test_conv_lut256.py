"""Layers with codebooks of 32 to 256 words: looked up where the file says so."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subbyte.graph.functions.layer import TABLE_SHIFT
from subbyte.methods import WeightShape
from tests.graph.coding import code_product
from tests.native.nodes.coded_layers import WINDOWS, Q, near_zero
from tests.native.nodes.operators import Node, assert_close, layer, open_model, random_codes

OUTPUTS, INPUTS, TAPS = 70, 22, 9
WORDS = (32, 64, 128, 256)


def conv(words: int, gain: int = 0, group: int = 4, groups: int = 1, shared: bool = False) -> Node:
    shape = WeightShape(OUTPUTS * groups, TAPS, INPUTS, groups)
    weight = np.random.default_rng(1).standard_normal((shape.outputs, TAPS, INPUTS))
    weight = weight.astype(np.float32) / np.sqrt(TAPS * INPUTS)
    coded = code_product(weight, shape, gain, group, shared, words)
    attributes = {**WINDOWS["3x3"], "group": groups}
    feeds = {"x": near_zero((2, 6, 7, INPUTS * groups))}
    return layer(coded, "Conv", "", feeds, attributes, Q, shift=0)


def any_codes(node: Node) -> Node:
    """The node with inputs of any size, whose products are large."""
    node.feeds["x"] = random_codes(node.feeds["x"].shape, 0, 255, 5)
    node.constants["x_scale"] = np.asarray(0.01, np.float32)
    return node


def outputs(node: Node, native: bool) -> NDArray[np.int64]:
    return node.run(native).astype(np.int64)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("gain", [0, 1])
@pytest.mark.parametrize("form", ["", "shared", "groups"])
def test_entries_that_fit_are_exact(words: int, gain: int, form: str) -> None:
    """Inputs within a step of their zero point, shift 0: no entry is rounded or cut."""
    node = conv(words, gain, groups=1 + (form == "groups"), shared=form == "shared")
    expected = node.run(native=False)
    assert len(np.unique(expected)) > 30
    assert_close(node.run(native=True), expected)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("gain", [0, 3])
def test_a_shift_rounds_the_entries_a_little(words: int, gain: int) -> None:
    node = any_codes(conv(words, gain))
    node.attributes[TABLE_SHIFT] = 8
    difference = np.abs(outputs(node, native=True) - outputs(node, native=False))
    # Far more than two ways to round the exact sum would change.
    assert (difference > 0).mean() > 0.1
    assert difference.mean() < 2


@pytest.mark.parametrize("words", WORDS)
def test_without_a_shift_the_layer_is_multiplied(words: int) -> None:
    node = any_codes(conv(words))
    del node.attributes[TABLE_SHIFT]
    assert_close(node.run(native=True), node.run(native=False))


def test_longer_words_than_the_kernel_takes_are_multiplied() -> None:
    node = any_codes(conv(32, group=16))
    book = np.random.default_rng(2).integers(-31, 32, (1, 32, 18)).astype(np.int8)
    node.constants["codebook"] = book
    node.attributes["code_shape"] = [1, OUTPUTS, TAPS, 2]
    node.attributes[TABLE_SHIFT] = 6
    assert_close(node.run(native=True), node.run(native=False))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_linear(words: int, rows: int) -> None:
    weight = np.random.default_rng(1).standard_normal((130, 1, 67)).astype(np.float32) / 8
    coded = code_product(weight, WeightShape(130, 1, 67), words=words)
    node = layer(coded, "Linear", "", {"x": near_zero((rows, 67))}, {}, Q, shift=0)
    assert_close(node.run(native=True), node.run(native=False))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_threads_share_the_outputs_of_few_rows(words: int, rows: int) -> None:
    weight = np.random.default_rng(1).standard_normal((1500, 1, 600)).astype(np.float32) / 8
    coded = code_product(weight, WeightShape(1500, 1, 600), words=words)
    x = {"x": random_codes((rows, 600), 0, 255)}
    node = layer(coded, "Linear", "Dequant", x, {}, Q, shift=5)
    model = node.model().SerializeToString()
    one, two = (open_model(model, True, threads) for threads in (1, 2))
    for _ in range(4):  # the first calls find the number of threads
        np.testing.assert_array_equal(one.run(None, x)[0], two.run(None, x)[0])


@pytest.mark.parametrize("words", WORDS)
def test_threads_and_later_shapes_change_nothing(words: int) -> None:
    node = any_codes(conv(words))
    node.attributes[TABLE_SHIFT] = 5
    model = node.model().SerializeToString()
    one, two = (open_model(model, True, threads) for threads in (1, 2))
    for size in ((1, 9, 3, INPUTS), (3, 4, 12, INPUTS)):
        x = {"x": random_codes(size, 0, 255, 7)}
        np.testing.assert_array_equal(one.run(None, x)[0], two.run(None, x)[0])


@pytest.mark.parametrize("shift", [-1, 9])
def test_a_shift_out_of_range_is_an_error_that_names_the_node(shift: int) -> None:
    node = conv(128)
    node.attributes[TABLE_SHIFT] = shift
    with pytest.raises(Exception, match=r"layer.*table_shift.*0 to 8"):
        node.run(native=True)
