"""How the paper's settings are counted and chosen, on a layer in small."""

import numpy as np

from benchmarks.papers import cbdnet
from subbyte.methods.composite.form import CompositeOptions
from tests.compression.nets import one_layer


def layers():  # type: ignore[no-untyped-def]
    weight = np.random.default_rng(0).laplace(size=(48, 24, 3, 3)).astype(np.float32)
    return one_layer("Conv", weight, 2, 24).layers


def test_more_planes_count_more_bits() -> None:
    counts = [
        cbdnet.count_bits(layers(), CompositeOptions(planes, "paper", bottleneck=0.2))
        for planes in (4, 5, 6)
    ]
    assert counts == sorted(counts)
    assert counts[0] > 3
    assert counts[2] <= 7


def test_a_setting_too_small_for_a_layer_counts_nothing() -> None:
    options = CompositeOptions(6, "paper", bottleneck=0.001)
    assert cbdnet.count_bits(layers(), options) is None


def test_the_nearest_from_below_is_chosen_or_the_least() -> None:
    options, bits = cbdnet.choose(layers(), 5.25)
    others = [cbdnet.count_bits(layers(), each) for each in cbdnet.SETTINGS]
    assert options in cbdnet.SETTINGS
    assert bits == max(each for each in others if each is not None and each <= 5.25)
    assert cbdnet.choose(layers(), 0.5)[1] == min(each for each in others if each is not None)
