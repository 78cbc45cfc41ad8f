"""Samples dealt into folds."""

from __future__ import annotations

import numpy as np

from subbyte.data.folds import deal
from tests import tiny
from tests.compression.nets import normal, samples_for

MODEL = tiny.build(
    [tiny.helper.make_node("Relu", ["x"], ["y"])], {}, {"x": ["N", 3]}, {"y": ["N", 3]}
)


def test_folds_are_of_one_size_and_hold_all_copies_of_a_sample() -> None:
    data = normal(0, 23, 3)
    often = samples_for(MODEL, np.concatenate([data, data[:9]]))
    folds = deal(often, 5, seed=1)
    assert (folds[23:] == folds[:9]).all()
    counts = np.bincount(folds[:23], minlength=5)
    assert counts.sum() == 23
    assert set(counts) == {4, 5}
    assert (folds == deal(often, 5, seed=1)).all()
    assert (folds != deal(often, 5, seed=2)).any()
