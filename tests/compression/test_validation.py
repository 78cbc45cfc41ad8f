"""Samples that are held back for the proof."""

from __future__ import annotations

import numpy as np
import pytest

from subbyte.compression.validation import LEAST_TO_SPLIT, MOST_PROOFS, split
from subbyte.data import Samples
from tests import tiny
from tests.compression.nets import Array, normal, samples_for

MODEL = tiny.build(
    [tiny.helper.make_node("Relu", ["x"], ["y"])], {}, {"x": ["N", 3]}, {"y": ["N", 3]}
)


def rows(samples: Samples) -> Array:
    return next(iter(samples.batches(len(samples))))["x"]


@pytest.mark.parametrize(
    ("count", "held"), [(LEAST_TO_SPLIT, 1), (39, 3), (250, 25), (1000, MOST_PROOFS)]
)
def test_one_in_ten_is_held_back(count: int, held: int) -> None:
    data = normal(0, count, 3)
    parts = split(samples_for(MODEL, data), seed=4)
    assert parts.apart
    assert (len(parts.held), len(parts.fit)) == (held, count - held)
    # Each in stored order, and all there.
    both = np.concatenate([rows(parts.fit), rows(parts.held)])
    assert {row.tobytes() for row in both} == {row.tobytes() for row in data}
    places = [int(np.flatnonzero((data == row).all(1))[0]) for row in rows(parts.fit)]
    assert places == sorted(places)


def test_by_seed() -> None:
    samples = samples_for(MODEL, normal(0, 100, 3))
    held = [split(samples, seed).held.fingerprint() for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_below_sixteen_none_is() -> None:
    samples = samples_for(MODEL, normal(0, LEAST_TO_SPLIT - 1, 3))
    parts = split(samples, 0)
    assert not parts.apart
    assert parts.fit is parts.held is samples


def test_a_sample_that_is_given_twice_is_on_one_side() -> None:
    data = normal(0, 30, 3)
    often = np.concatenate([data, data[:20], data[:10]])
    parts = split(samples_for(MODEL, often), 0)
    held = {row.tobytes() for row in rows(parts.held)}
    fit = [row.tobytes() for row in rows(parts.fit)]
    assert len(held) == len(parts.held) == 3
    assert held.isdisjoint(fit)
    # What is for coding counts as often as it was given.
    assert len(fit) == sum(1 for row in often if row.tobytes() not in held)
    few = split(samples_for(MODEL, np.tile(data[:10], (6, 1))), 0)
    assert not few.apart
