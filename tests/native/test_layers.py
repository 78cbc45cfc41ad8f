"""Native layers against the function bodies of the file, in stock onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from subbyte.methods import WeightShape
from tests.native.nodes.coded_layers import CODERS, WINDOWS, Q, code, conv, near_zero
from tests.native.nodes.island_nodes import Q_BEHIND, with_unary
from tests.native.nodes.operators import (
    assert_close,
    layer,
    open_model,
    parameters,
    random_codes,
    refusal,
)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", CODERS)
def test_conv(name: str, window: str) -> None:
    node = conv(name, window)
    expected = node.run(native=False)
    assert len(np.unique(expected)) > 30
    assert_close(node.run(native=True), expected)


@pytest.mark.parametrize("name", CODERS)
def test_grouped_conv(name: str) -> None:
    if name == "shared":
        pytest.skip("a shared codebook is one for the whole layer, which has one group then")
    node = conv(name, groups=3)
    assert_close(node.run(native=True), node.run(native=False))


@pytest.mark.parametrize("name", ["product", "8-bit"])
def test_residual(name: str) -> None:
    node = conv(name, form="Add")
    assert_close(node.run(native=True), node.run(native=False), share=0.05)


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("form", ["", "Dequant"])
def test_linear(name: str, form: str) -> None:
    coded = code(name, WeightShape(10 if name == "few-outputs" else 64, 1, 19))
    node = layer(coded, "Linear", form, {"x": near_zero((2, 3, 19))}, {}, Q, shift=0)
    actual, expected = node.run(native=True), node.run(native=False)
    if form == "Dequant":
        np.testing.assert_allclose(actual, expected, atol=2e-5)
    else:
        assert_close(actual, expected)


@pytest.mark.parametrize("op", ["Conv", "Linear"])
@pytest.mark.parametrize("name", CODERS)
def test_a_function_behind_a_layer(name: str, op: str) -> None:
    """The table of what the layer alone gives, bit for bit."""
    node = conv(name, batch=1)
    if op == "Linear":
        coded = code(name, WeightShape(10 if name == "few-outputs" else 64, 1, 19))
        node = layer(coded, "Linear", "", {"x": near_zero((2, 3, 19))}, {}, Q, shift=0)
    with_function = with_unary(node)
    node.constants |= parameters({"y": Q_BEHIND["m"]})
    codes = node.run(native=True)
    assert len(np.unique(codes)) > 20
    actual = with_function.run(native=True)
    np.testing.assert_array_equal(actual, with_function.constants["table"][codes])
    assert_close(actual, with_function.run(native=False), share=0.1)


def test_table_of_another_size() -> None:
    node = with_unary(conv("product"))
    node.constants["table"] = node.constants["table"][:255]
    message = "subbyte ProductConvUnary0 node 'layer': table: expected [256], got [255]"
    assert refusal(node) == message


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding(padding: str) -> None:
    coded = code("8-bit", WeightShape(20, 12, 5))
    window = {"kernel_shape": [3, 4], "strides": [2, 1], "dilations": [1, 1], "group": 1}
    feeds = {"x": random_codes((2, 9, 8, 5), 0, 255)}
    q = {**Q, "x": (0.02, 128)}
    node = layer(coded, "ConvSame", "", feeds, {**window, "auto_pad": padding}, q)
    assert_close(node.run(native=True), node.run(native=False))


def test_depthwise() -> None:
    coded = code("8-bit", WeightShape(70, 9, 1, 70))
    feeds = {"x": random_codes((2, 9, 8, 70), 0, 255)}
    q = {**Q, "x": (0.02, 3)}
    node = layer(coded, "Conv", "", feeds, {**WINDOWS["3x3"], "group": 70}, q)
    assert_close(node.run(native=True), node.run(native=False))


def test_rounded_tables_stay_close() -> None:
    """Any x, at the shift that cannot saturate: noise of the tables, and no more."""
    node = conv("product")
    node.feeds["x"] = random_codes((2, 8, 7, 9), 0, 255, 5)
    node.constants["x_scale"] = np.asarray(0.01, np.float32)
    node.attributes["table_shift"] = 8
    actual, expected = (node.run(native).astype(float) for native in (True, False))
    assert np.abs(actual - expected).mean() < 1.5
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("shift", [None, 8])
def test_the_file_says_what_is_looked_up(shift: int | None) -> None:
    """However few the outputs: tables round, and multiplying does not."""
    coded = code("few-outputs", WeightShape(10, 1, 19))
    feeds = {"x": random_codes((3, 19), 0, 255, 2)}
    node = layer(coded, "Linear", "Dequant", feeds, {}, Q, shift=0)
    del node.attributes["table_shift"]
    if shift is not None:
        node.attributes["table_shift"] = shift
    apart = np.abs(node.run(native=True) - node.run(native=False)).max()
    assert (apart > 0.1) == (shift is not None)


def test_threads_do_not_change_the_result() -> None:
    node = conv("product", batch=40)
    node.feeds["x"] = random_codes((40, 24, 25, 9), 0, 255, 6)
    np.testing.assert_array_equal(node.run(True, threads=3), node.run(True, threads=1))


@pytest.mark.parametrize("shape", [(0, 8, 7, 9), (1, 8, 7, 9), (5, 3, 11, 9)])
def test_sizes_of_x_may_change(shape: tuple[int, ...]) -> None:
    node = conv("product")
    session = open_model(node.model().SerializeToString(), native=True)
    stock = open_model(node.model().SerializeToString(), native=False)
    x = near_zero(shape, 9)
    actual, expected = (s.run(None, {"x": x})[0] for s in (session, stock))
    assert actual.shape == expected.shape
    if x.size:
        assert_close(actual, expected)


BAD_X = {"channels": (1, 8, 7, 8), "rank": (1, 8, 9), "small": (1, 0, 7, 9)}


@pytest.mark.parametrize("what", BAD_X)
def test_bad_x_names_the_node(what: str) -> None:
    node = conv("product")
    model = node.model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = open_model(model.SerializeToString(), native=True)
    with pytest.raises(Exception, match=r"'layer'.* x: expected \[N, H, W, 9\], got"):
        session.run(None, {"x": np.zeros(BAD_X[what], np.uint8)})


def test_window_beyond_x() -> None:
    node = conv("product", "3x2")
    session = open_model(node.model().SerializeToString(), native=True)
    with pytest.raises(Exception, match=r"'layer'.*kernel: expected a span of at most"):
        session.run(None, {"x": np.zeros((1, 1, 7, 9), np.uint8)})


BROKEN: dict[str, tuple[str, Any]] = {
    "weight_shape": ("attribute weight_shape", [64, 8, 9]),
    "code_shape": ("attribute code_shape", [1, 64, 9, 3]),
    "kernel_shape": ("attribute kernel_shape", [3, 3, 3]),
    "strides": ("attribute strides", [0, 1]),
    "dilations": ("attribute dilations", [1, 1 << 40]),
    "pads": ("attribute pads", [-1, 0, 0, 0]),
    "group": ("attribute group", 7),
    "table_shift": ("attribute table_shift", 9),
    "scale_base": ("attribute scale_base", float("nan")),
}


@pytest.mark.parametrize("attribute", BROKEN)
def test_bad_attributes_name_the_node(attribute: str) -> None:
    node = conv("product")
    message, node.attributes[attribute] = BROKEN[attribute]
    assert refusal(node).startswith(f"subbyte ProductConv node 'layer': {message}")


CONSTANTS: dict[str, tuple[str, NDArray[Any]]] = {
    "codes": ("codes: expected [144, 1 to 8], got", np.zeros((143, 4), np.uint8)),
    "codebook": ("codebook: expected [1 or 2, 16, d], got", np.zeros((2, 15, 8), np.int8)),
    "scale": ("scale: expected [64], got", np.zeros(63, np.float16)),
    "bias": ("bias: expected [64], got", np.zeros(65, np.float32)),
    "x_scale": ("x_scale: expected a positive number", np.asarray(-1, np.float32)),
    "y_scale": ("y_scale: expected a positive number", np.asarray(np.inf, np.float32)),
    "y_zero": ("y_zero: expected [], got [1]", np.zeros(1, np.uint8)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_bad_constants_name_the_node(name: str) -> None:
    node = conv("product")
    message, node.constants[name] = CONSTANTS[name]
    assert refusal(node).startswith(f"subbyte ProductConv node 'layer': {message}")


DECODED: dict[str, tuple[str, str, str, Any]] = {
    "rank": ("ternary", "right_shape", "attribute left_shape: expected [1, 64, 7]", [1, 7, 81]),
    "width": ("ternary", "right_shape", "attribute right_shape: expected [1, 64, 81]", [1, 64, 80]),
    "digits": ("ternary", "left", "left: expected [820]", np.zeros(819, np.uint8)),
    "size": ("composite", "weight_shape", "attribute weight_shape: expected", [64, 9, 1 << 30]),
    "product": ("ternary", "weight_shape", "attribute weight_shape: expected", [64, 9, 1 << 30]),
    "counts": ("composite", "counts", "plane0: expected [1, 1 to 8]", [8] * 7),
    "gaps": ("composite", "plane0", "plane0: expected gaps that end within", None),
    "bounds": ("factored", "bounds", "attribute bounds: expected numbers that rise", [0] * 7),
    "sides": ("factored", "left_shape", "attributes left_shape and right_shape", [192, 1]),
}


@pytest.mark.parametrize("what", DECODED)
def test_bad_codes_name_the_node(what: str) -> None:
    coder, name, message, value = DECODED[what]
    node = conv(coder)
    if value is None:
        value = np.full((len(node.constants[name]), 8), 254, np.uint8)
    (node.attributes if name in node.attributes else node.constants)[name] = value
    assert f"Conv node 'layer': {message}" in refusal(node)


def test_signs_are_as_many_as_weights() -> None:
    node = conv("composite")
    counts = list(node.attributes["counts"])
    node.attributes["counts"] = [*counts[:6], 8]
    node.constants["signs"] = np.zeros((1, 1), np.uint8)
    assert "signs: expected one for each weight that is not zero, got 8" in refusal(node)


def test_words_beyond_the_format() -> None:
    node = conv("product")
    node.constants["codebook"] = np.full((2, 16, 8), 63, np.int8)
    assert "codebook: expected positive and negative entries that sum to 126" in refusal(node)


def test_weights_must_be_constant() -> None:
    node = conv("product")
    node.feeds["codes"] = node.constants.pop("codes")
    assert "codes: expected a constant input" in refusal(node)
