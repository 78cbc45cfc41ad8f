"""Errors of look-up tables: what the native kernels give, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from subbyte.compression.calibration.table_errors import (
    MOST_SHIFT,
    TableLayer,
    best_shift,
    rows_error,
    table_error,
    table_layer,
)
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.weight_layout import to_onnx_layout
from subbyte.methods import METHODS, CodedWeight, WeightShape, decode_weight
from subbyte.methods.coded import decode_scale
from subbyte.runtime.native.client import NativeLibrary
from subbyte.runtime.native.structures import ConvLut16, ConvLut256, Geometry
from tests.compression.nets import CPU, matmul, normal, one_layer, weight_of
from tests.graph.coding import code_product, code_scalar

HEIGHT, WIDTH, INPUTS, OUTPUTS = 7, 6, 10, 20
KERNEL, PADS, STRIDES = (3, 2), (1, 0, 2, 1), (2, 1)
INPUT = QuantParams(0.05, 100)


def convolution(groups: int) -> Network:
    window = {"kernel_shape": KERNEL, "pads": PADS, "strides": STRIDES, "group": groups}
    weight = normal(0, OUTPUTS, INPUTS // groups, *KERNEL)
    return one_layer("Conv", weight, 2, INPUTS, **window)


def tables_of(network: Network, coded: CodedWeight) -> TableLayer:
    found = table_layer(network.layers[0], coded, INPUT, CPU)
    assert found is not None
    return found


def native_sums(coded: CodedWeight, x: np.ndarray, groups: int, shift: int) -> np.ndarray:
    """Sums [N, H, W, O] of the kernel, in units of the weight's integers."""
    tables = METHODS[coded.method].tables(coded)
    assert tables is not None
    books, words, length = tables.words.shape
    geometry = Geometry(
        *(len(x), HEIGHT, WIDTH, INPUTS, OUTPUTS, groups), *(KERNEL, STRIDES, (1, 1), PADS)
    )
    common: dict[str, Any] = {
        "word_length": length,
        "shared": books == 1,
        "gain_levels": 0 if tables.gains is None else 256,
        "input_zero": INPUT.zero_point,
        "shift": shift,
    }
    sizes = ConvLut16(geometry, **common)
    shape = sizes if words == 16 else ConvLut256(geometry, words=words, **common)
    gains = gain_codes = None
    if tables.gains is not None:
        gains = np.clip(np.arange(256) - 128, -64, 64).astype(np.int8)
        gain_codes = (np.rint(tables.gains * 64) + 128).astype(np.uint8)
    packed = NativeLibrary().pack(shape, tables.codes, gain_codes, gains, tables.words)
    unit = 1 if tables.gains is None else 64
    return packed.run(x, np.int32) * 2.0**shift / unit


@pytest.mark.parametrize("shift", [0, 1, 3, 6])
@pytest.mark.parametrize(
    ("method", "groups"),
    [("words", 1), ("words", 2), ("gains", 2), ("shared", 1), ("many", 1), ("levels", 2)],
)
def test_errors_are_the_native_kernels(method: str, groups: int, shift: int) -> None:
    network = convolution(groups)
    layer, weight = network.layers[0], weight_of(network.layers[0]).numpy()
    coded = {
        "words": lambda: code_product(weight, layer.shape, group=4),
        "gains": lambda: code_product(weight, layer.shape, gain=3, group=3),
        "shared": lambda: code_product(weight, layer.shape, gain=1, group=4, shared=True),
        "many": lambda: code_product(weight, layer.shape, group=3, words=64),
        "levels": lambda: code_scalar(weight, layer.shape, 2),
    }[method]()
    tables = tables_of(network, coded)
    x = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, INPUTS)).astype(np.uint8)
    value = torch.from_numpy((x.astype(np.float32) - INPUT.zero_point) * np.float32(INPUT.scale))
    value = value.movedim(-1, 1)
    module = GraphModule(network).eval()
    module.set_constant(layer.weight, to_onnx_layout(layer, torch.from_numpy(decode_weight(coded))))
    module.set_bias(layer.name, torch.zeros(OUTPUTS))
    exact = module(value).detach()
    found = exact + table_error(tables, shift, value, exact)
    scale = decode_scale(coded) * INPUT.scale
    expected = native_sums(coded, x, groups, shift) * scale
    np.testing.assert_allclose(found.movedim(1, -1), expected, rtol=1e-4, atol=2e-3)
    assert (shift == 0 and method in ("words", "many", "levels")) or float(found.std()) > 0


@pytest.mark.parametrize("left", [False, True])
def test_linear_layers_along_either_axis(left: bool) -> None:
    """Every row is a pixel of a 1x1 convolution."""
    network = matmul(normal(0, 12, 8) if left else normal(0, 8, 12), 3, left)
    layer = network.layers[0]
    coded = code_product(weight_of(layer).numpy(), layer.shape, gain=2, group=3)
    tables = tables_of(network, coded)
    value = normal(1, 2, 8, 5) if left else normal(1, 2, 5, 8)
    x = torch.from_numpy(3 * value)
    output = GraphModule(network).eval()(x).detach()
    found = table_error(tables, 5, x, output)
    codes = (x / INPUT.scale).round().clamp(-INPUT.zero_point, 255 - INPUT.zero_point)
    rows = (codes.transpose(1, 2) if left else codes).reshape(-1, 1, 8)
    expected = rows_error(tables, 5, rows).reshape(2, 5, 12)
    torch.testing.assert_close(found, expected.transpose(1, 2) if left else expected)
    assert float(found.abs().max()) > 0


def test_parts_of_the_positions_are_put_together() -> None:
    network = convolution(1)
    coded = code_product(weight_of(network.layers[0]).numpy(), network.layers[0].shape)
    value = torch.from_numpy(normal(1, 2, INPUTS, HEIGHT, WIDTH))
    output = GraphModule(network).eval()(value).detach()
    tables = tables_of(network, coded)
    whole = table_error(tables, 4, value, output)
    torch.testing.assert_close(table_error(tables, 4, value, output, products=1000), whole)


def four_inputs() -> TableLayer:
    """A linear layer of one channel group."""
    network = matmul(normal(0, 4, 40), 2, False)
    layer = network.layers[0]
    return tables_of(network, code_product(weight_of(layer).numpy(), layer.shape))


def test_larger_inputs_ask_for_a_larger_shift() -> None:
    tables = four_inputs()
    rows = torch.from_numpy(np.abs(normal(0, 200, 1, 4)))
    best = [best_shift(tables, (rows * size).round()) for size in (1, 4, 16, 60)]
    assert best == sorted(best)
    assert best[0] < best[-1] <= MOST_SHIFT


def test_the_best_shift_has_the_least_error_of_all() -> None:
    """Inputs with a long tail: a few entries saturate at the best shift."""
    tables = four_inputs()
    rows = torch.from_numpy(np.exp(1.5 * normal(2, 400, 1, 4)).round().clip(0, 155))
    errors = [float(rows_error(tables, s, rows).square().sum()) for s in range(MOST_SHIFT + 1)]
    assert best_shift(tables, rows) == best_shift(tables, rows, products=500)
    assert best_shift(tables, rows) == int(np.argmin(errors))
    assert 0 < int(np.argmin(errors)) < MOST_SHIFT


def test_a_weight_without_tables_has_no_table_layer() -> None:
    network = convolution(1)
    layer = network.layers[0]
    coded = code_scalar(weight_of(layer).numpy(), WeightShape(OUTPUTS, 6, INPUTS), 4)
    assert table_layer(layer, coded, INPUT, CPU) is None
