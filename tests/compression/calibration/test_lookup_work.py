"""Where layers are looked up, as far as time goes: as measured, and only if they are worth it."""

from __future__ import annotations

import pytest
import torch

from subbyte.compression.calibration.lookup_work import Work, lookup_gains, work_of
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.methods import WeightShape
from tests import tiny
from tests.compression.nets import smooth_images

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
    work = Work(10**9, read, written, linear=False)
    shape = WeightShape(outputs, taps, 128)
    assert lookup_gains(shape, words, length, bool(gain), work) == expected
    grouped = WeightShape(3 * outputs, taps, 128, 3)
    assert lookup_gains(grouped, words, length, bool(gain), work) == expected


def test_a_linear_layer_that_waits_for_memory_is_looked_up_by_short_words() -> None:
    shape = WeightShape(4096, 1, 4096)
    row, rows = (Work(10**9, count, count, linear=True) for count in (1, 500))
    assert lookup_gains(shape, 32, 2, False, row)
    assert not lookup_gains(shape, 32, 2, False, rows)
    assert not lookup_gains(shape, 32, 1, False, row)
    # Two codes of 16 words are a byte.
    assert lookup_gains(shape, 16, 1, False, row)
    assert not lookup_gains(shape, 16, 1, False, rows)
    assert not lookup_gains(WeightShape(64, 1, 64), 32, 2, False, row)


def test_the_work_of_a_layer_is_that_of_one_sample() -> None:
    network = prepare(tiny.classifier(), "tiny")
    module = GraphModule(network).eval()
    layers = {layer.name: layer for layer in network.layers}
    x = torch.from_numpy(smooth_images(20, size=tiny.SIZE))
    found = {}
    for _, step, before, after in module.walk({"input": x}):
        if step.name in layers:
            layer = layers[step.name]
            found[step.name] = work_of(layer, before[layer.input], after[layer.output])
    assert found.keys() == layers.keys()
    for name, work in found.items():
        assert work.products == layers[name].shape.count * work.outputs
        assert work.outputs == (1 if work.linear else tiny.SIZE**2)
