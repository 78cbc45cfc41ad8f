"""The shift of look-up tables: least weighed error, and only for layers worth it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subbyte.compression.calibration import table_shifts as tables
from subbyte.compression.calibration.activation_ranges import quantize_activations
from subbyte.compression.calibration.table_shifts import (
    MOST_SHIFT,
    SATURATION,
    shift_errors,
    table_shifts,
)
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical, to_onnx_layout
from subbyte.methods import METHODS, CodedWeight, WeightShape, decode_weight
from tests import tiny
from tests.compression.nets import samples_for, smooth_images
from tests.graph.coding import code_product, code_scalar


def by_definition(pixels: np.ndarray, words: np.ndarray, counts: np.ndarray) -> list[float]:
    errors = []
    for shift in range(MOST_SHIFT + 1):
        half, total = (1 << shift) // 2, 0.0
        for pixel in pixels:
            for group in range(len(counts)):
                book = words[group if len(words) > 1 else 0]
                for word, count in zip(book, counts[group], strict=True):
                    product = int((word * pixel[group]).sum())
                    entry = (product + half) >> shift
                    cut = min(max(entry, -128), 127)
                    weight = 1.0 if cut == entry else SATURATION
                    lost = (entry - cut if cut != entry else entry - product / (1 << shift)) * (
                        1 << shift
                    )
                    total += int(count) * weight * lost**2
        errors.append(total)
    return errors


@pytest.mark.parametrize("books", [1, 3])
def test_errors_follow_their_definition(books: int) -> None:
    rng = np.random.default_rng(books)
    pixels = rng.integers(-100, 156, (5, 3, 4))
    words = rng.integers(-31, 32, (books, 16, 4))
    counts = rng.integers(0, 9, (3, 16))
    found = shift_errors(*(torch.from_numpy(a).float() for a in (pixels, words, counts)))
    np.testing.assert_allclose(found.numpy(), by_definition(pixels, words, counts), rtol=1e-4)


def test_larger_inputs_ask_for_a_larger_shift() -> None:
    rng = np.random.default_rng(0)
    words = torch.from_numpy(rng.integers(-31, 32, (1, 16, 4))).float()
    counts = torch.ones(2, 16)
    best = [
        int(shift_errors(torch.randn(200, 2, 4).abs() * size, words, counts).argmin())
        for size in (1, 4, 16, 60)
    ]
    assert best == sorted(best)
    assert best[0] < best[-1]


@pytest.mark.parametrize("gain", [0, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_words_and_how_often_they_are_chosen(gain: int, groups: int) -> None:
    shape = WeightShape(12, 9, 7, groups)
    coded = code_product(np.ones((12, 9, 7), np.float32), shape, gain)
    found = METHODS["product"].tables(coded)
    assert found is not None
    assert found.words.shape == (2 * groups, 16, 4)
    assert found.counts.shape == (2 * groups, 16)
    assert (found.counts.sum(axis=1) == 12 // groups * 9).all()


def test_pairs_of_two_bit_levels_are_words() -> None:
    shape = WeightShape(6, 4, 5)
    weight = np.random.default_rng(0).standard_normal((6, 4, 5)).astype(np.float32)
    coded = code_scalar(weight, shape, 2)
    found = METHODS["scalar"].tables(coded)
    assert found is not None
    assert METHODS["scalar"].tables(code_scalar(weight, shape, 4)) is None
    levels = METHODS["scalar"].decode(coded).astype(int)
    padded = np.pad(levels, [(0, 0), (0, 0), (0, 1)], constant_values=found.words[0, 0, 0])
    for group in range(3):
        pairs = padded[:, :, 2 * group : 2 * group + 2].reshape(-1, 2)
        expected = [(pairs == word).all(axis=1).sum() for word in found.words[0]]
        assert found.counts[group].tolist() == expected


CASES = [
    # outputs, taps, input and output pixels, words, length, gain: faster than int8 as measured
    (64, 9, 56 * 56, 56 * 56, 128, 8, False, True),
    (64, 9, 56 * 56, 56 * 56, 256, 8, False, False),
    (256, 9, 14 * 14, 14 * 14, 256, 8, False, True),
    (256, 9, 28 * 28, 14 * 14, 256, 8, False, False),
    (16, 9, 32 * 32, 32 * 32, 64, 8, False, False),
    (1024, 1, 14 * 14, 14 * 14, 32, 4, False, True),
    (256, 1, 14 * 14, 14 * 14, 128, 8, False, False),
    (256, 9, 14 * 14, 14 * 14, 256, 8, True, False),
    (512, 9, 7 * 7, 7 * 7, 64, 2, False, False),
    (16, 1, 9, 9, 16, 4, False, False),
    (64, 1, 28 * 28, 28 * 28, 16, 4, True, True),
    (64, 1, 28 * 28, 28 * 28, 16, 3, False, False),
    (128, 1, 28 * 28, 28 * 28, 16, 3, False, True),
    (128, 1, 28 * 28, 28 * 28, 16, 2, False, False),
    (576, 1, 14 * 14, 14 * 14, 16, 2, True, True),
    (64, 9, 28 * 28, 28 * 28, 16, 2, False, True),
    (96, 1, 14 * 14, 14 * 14, 16, 2, False, False),
    (12, 9, 32 * 32, 32 * 32, 16, 4, True, True),
    (12, 9, 32 * 32, 32 * 32, 16, 2, False, False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_words_are_looked_up_where_that_is_faster(case: tuple[int, ...]) -> None:
    outputs, taps, read, written, words, length, gain, expected = case
    work = tables.Work(10**9, read, written, linear=False)
    shape = WeightShape(outputs, taps, 128)
    assert tables.lookup_gains(shape, words, length, bool(gain), work) == expected
    grouped = WeightShape(3 * outputs, taps, 128, 3)
    assert tables.lookup_gains(grouped, words, length, bool(gain), work) == expected


def test_a_linear_layer_that_waits_for_memory_is_looked_up_by_short_words() -> None:
    shape = WeightShape(4096, 1, 4096)
    row, rows = (tables.Work(10**9, count, count, linear=True) for count in (1, 500))
    assert tables.lookup_gains(shape, 32, 2, False, row)
    assert not tables.lookup_gains(shape, 32, 2, False, rows)
    assert not tables.lookup_gains(shape, 32, 1, False, row)
    # Two codes of 16 words are a byte.
    assert tables.lookup_gains(shape, 16, 1, False, row)
    assert not tables.lookup_gains(shape, 16, 1, False, rows)
    assert not tables.lookup_gains(WeightShape(64, 1, 64), 32, 2, False, row)


def test_layers_of_many_words_get_a_shift_only_there() -> None:
    model = tiny.classifier()
    network = prepare(model, "tiny")
    module = GraphModule(network).eval()
    samples = samples_for(model, smooth_images(20, size=tiny.SIZE))
    coded: dict[str, CodedWeight] = {}
    for layer in network.layers:
        weight = canonical(layer, np.asarray(known(layer.node.inputs[1]), np.float32))
        coded[layer.weight] = code_product(weight, layer.shape, words=64)
        value = to_onnx_layout(layer, decode_weight(coded[layer.weight]))
        module.set_constant(layer.weight, torch.from_numpy(value.copy()))
    plan, params = quantize_activations(Run(network, samples), module)
    arguments = (Run(network, samples), module, coded, plan, params)
    assert table_shifts(*arguments, least_work=0) == {}
    assert table_shifts(*arguments, least_work=0, least_gain=0).keys() == {
        layer.name for layer in network.layers
    }


def test_the_work_of_a_layer_is_that_of_one_sample() -> None:
    model = tiny.classifier()
    network = prepare(model, "tiny")
    module = GraphModule(network).eval()
    layers = {layer.name: layer for layer in network.layers}
    x = torch.from_numpy(smooth_images(20, size=tiny.SIZE))
    found = {}
    for _, step, before, after in module.walk({"input": x}):
        if step.name in layers:
            layer = layers[step.name]
            found[step.name] = tables._work(layer, before[layer.input], after[layer.output])
    assert found.keys() == layers.keys()
    for name, work in found.items():
        assert work.products == layers[name].shape.count * work.outputs
        assert work.outputs == (1 if work.linear else tiny.SIZE**2)


def test_parts_of_the_pixels_add_up() -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(-100, 156, (7, 3, 4))).float()
    words = torch.from_numpy(rng.integers(-31, 32, (3, 32, 4))).float()
    counts = torch.ones(3, 32)
    expected = shift_errors(pixels, words, counts)
    torch.testing.assert_close(shift_errors(pixels, words, counts, at_a_time=200), expected)


def test_layers_worth_it_get_a_shift() -> None:
    model = tiny.classifier()
    network = prepare(model, "tiny")
    module = GraphModule(network).eval()
    samples = samples_for(model, smooth_images(20, size=tiny.SIZE))
    coded: dict[str, CodedWeight] = {}
    for layer in network.layers:
        weight = canonical(layer, np.asarray(known(layer.node.inputs[1]), np.float32))
        bits = 8 if layer.shape.inputs < 4 else 2
        coded[layer.weight] = code_scalar(weight, layer.shape, bits)
        value = to_onnx_layout(layer, decode_weight(coded[layer.weight]))
        module.set_constant(layer.weight, torch.from_numpy(value.copy()))
    plan, params = quantize_activations(Run(network, samples), module)
    arguments = (Run(network, samples), module, coded, plan, params)
    assert table_shifts(*arguments) == {}
    # Worth more than ten microseconds, but slower.
    assert table_shifts(*arguments, least_work=0) == {}
    expected = {x.name for x in network.layers if x.shape.inputs >= 4}
    found = table_shifts(*arguments, least_work=0, least_gain=0)
    assert set(found) == expected
    assert all(0 <= shift <= MOST_SHIFT for shift in found.values())
