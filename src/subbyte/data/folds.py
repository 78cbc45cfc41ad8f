"""Samples dealt into folds, each of which is held back in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subbyte.data.samples import Samples


def deal(samples: Samples, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each sample, 0 to ``folds`` - 1: all of about one size, copies of a sample in
    one of them."""
    alike = copies(samples)
    found = np.zeros(len(samples), np.int64)
    for number, group in enumerate(np.random.default_rng(seed).permutation(len(alike))):
        found[alike[group]] = number % folds
    return found


def copies(samples: Samples) -> list[list[int]]:
    """The places of each sample that differs from all others: more than one where it has copies."""
    places: dict[str, list[int]] = {}
    for place in range(len(samples)):
        places.setdefault(samples.select([place]).fingerprint(), []).append(place)
    return list(places.values())
