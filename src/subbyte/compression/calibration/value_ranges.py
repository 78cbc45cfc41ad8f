"""The range over which each group of values is carried in eight bits.

Two passes over a part of the samples: extremes first, then a histogram between them. The range is
the one with the least expected squared error of quantizing to uint8 (rounding inside it, clipping
outside), searched over shares of both extremes; it never clips more than 1 value in 10,000.

The samples are dealt into `FOLDS`, and there is a range without each of them: it tells how a range
does on samples that it was not made from (docs/decisions/0030). Fewer than `LEAST_TO_DEAL` are one
fold, whose range is made from it: each one counts there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.culprit import check_finite
from subbyte.data import Samples
from subbyte.graph.islands.shared_scales import CarriedValue, Group
from subbyte.graph.module.graph_module import GraphModule
from subbyte.progress import Progress

RANGE_SAMPLES = 512
FOLDS = 4
LEAST_TO_DEAL = 16
BINS = 4096
SHARES = np.linspace(0.3, 1.0, 71)
CLIPPED = 1e-4

Column = NDArray[np.float64]


@dataclass
class Histogram:
    """Counts in even bins over [low, high], which holds zero."""

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[:-1] + edges[1:]) / 2


@dataclass(frozen=True)
class Range:
    """The values [low, high] that are carried; values beyond are clipped."""

    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """The range of a group: over ``all`` samples, and ``without`` each fold of `dealt`.

    Where there is one fold, the range without it is the range over all samples.
    """

    all: Range
    without: tuple[Range, ...]


def dealt(samples: Samples, most: int = RANGE_SAMPLES) -> list[Samples]:
    """The first ``most`` samples, dealt in turn into `FOLDS`, or in one."""
    few = samples.first(most)
    count = FOLDS if len(few) >= LEAST_TO_DEAL else 1
    return [few.select(np.arange(fold, len(few), count)) for fold in range(count)]


@torch.no_grad()
def measure(
    module: GraphModule,
    groups: Sequence[Group],
    samples: Samples,
    device: torch.device,
    progress: Progress,
) -> dict[str, Measured]:
    """The best ranges of every group over up to `RANGE_SAMPLES` samples, by name."""
    folds = dealt(samples)
    chunk = chunk_size(module, samples, device)
    passes = 2 * sum(-(-len(fold) // chunk) for fold in folds)
    members = {value.name: (group.name, value) for group in groups for value in group.values}
    extremes = {group.name: (0.0, 0.0) for group in groups}
    counts = {g.name: torch.zeros(len(folds), BINS, dtype=torch.float64) for g in groups}
    done = 0
    for first_pass in (True, False):
        for number, batch in _batches(folds, chunk):
            progress("ranges", done, passes, "")
            done += 1
            for group, value in _values(module, members, batch, device):
                low, high = extremes[group]
                if first_pass:
                    ends = torch.stack([value.min(), value.max()])
                    check_finite(ends, f"value of {group!r}")
                    extremes[group] = min(low, float(ends[0])), max(high, float(ends[1]))
                elif high > low:
                    found = torch.histc(value.float().cpu(), BINS, low, high)
                    counts[group][number] += found.double()
    progress("ranges", passes, passes, "")
    return {g.name: _measured(*extremes[g.name], counts[g.name].numpy()) for g in groups}


def _batches(
    folds: Sequence[Samples], size: int
) -> Iterator[tuple[int, Mapping[str, NDArray[Any]]]]:
    for number, fold in enumerate(folds):
        for batch in fold.batches(size):
            yield number, batch


def _measured(low: float, high: float, counts: NDArray[np.float64]) -> Measured:
    """Of the counts [folds, bins]."""
    total = counts.sum(axis=0)
    every = best_range(Histogram(low, high, total))
    if len(counts) == 1:
        return Measured(every, (every,))
    return Measured(every, tuple(best_range(Histogram(low, high, total - own)) for own in counts))


def _values(
    module: GraphModule,
    members: Mapping[str, tuple[str, CarriedValue]],
    batch: Mapping[str, NDArray[Any]],
    device: torch.device,
) -> Iterator[tuple[str, Tensor]]:
    """(group, value clamped to its own limit) as the network computes them."""
    for name, value in module.computed(on_device(batch, device), members):
        group, carried = members[name]
        yield group, value.clamp(carried.limit.low, carried.limit.high)


def best_range(histogram: Histogram) -> Range:
    """The range of least expected squared error; where values are signed, its two ends are
    searched apart, as they seldom lie equally far out."""
    total = histogram.counts.sum()
    if total == 0 or histogram.low == histogram.high:
        return Range(histogram.low, histogram.high)
    lows, under, below = _ends(histogram, histogram.low)
    highs, over, above = _ends(histogram, histogram.high)
    steps = (highs[None] - lows[:, None]) / 255
    clipped = below[:, None] + above[None]
    cost = under[:, None] + over[None] + steps**2 / 12 * (total - clipped)
    cost[clipped > CLIPPED * total] = np.inf
    low, high = np.unravel_index(cost.argmin(), cost.shape)
    return Range(float(lows[low]), float(highs[high]))


def _ends(histogram: Histogram, extreme: float) -> tuple[Column, Column, Column]:
    """Shares of one extreme; for each the squared error of the values beyond, and their number."""
    ends = extreme * SHARES if extreme else np.zeros(1)
    beyond = np.clip((histogram.centres[None] - ends[:, None]) * np.sign(extreme), 0, None)
    return ends, beyond**2 @ histogram.counts, (beyond > 0) @ histogram.counts
