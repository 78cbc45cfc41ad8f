"""The divergence of a compressed file from the float network, on samples that it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.divergence import Distance, are_scores, as_tuple, of_one
from subbyte.data import Samples
from subbyte.data.folds import copies
from subbyte.errors import CalibrationError, RunError
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.runtime import load

MOST_HELD = 512
LEAST_SAMPLES = 8
MOST_PROOFS = 64
LEAST_TO_SPLIT = 16
# What one flipped decision costs, as far as nothing is known of it: no sample of flips says
# less than that there may be one more.
ONE_FLIP = 0.2


@dataclass(frozen=True)
class Score:
    """How a file does on held-back samples.

    ``divergence``: KL in nats for class scores, else squared error over variance.
    ``each``: the divergence of every sample by itself.

    For one output of class scores [N, C] also:

    - ``agreement``: the percent of samples with the same best class;
    - ``lost``: the percentage points of accuracy that the float network's own probabilities p
      expect of it, mean of p[float's best class] - p[its best class];
    - ``uncertainty``: the standard error of ``lost``.
    """

    divergence: float
    agreement: float | None = None
    lost: float | None = None
    uncertainty: float | None = None
    each: tuple[float, ...] = field(default=(), compare=False, repr=False)

    def clearly_below(self, other: Score) -> bool:
        """Whether the divergence is less than ``other``'s on the same samples, by more than the
        standard error of the difference. (`Distance`: the mean of ``each`` is ``divergence``.)"""
        if not math.isfinite(other.divergence):
            return math.isfinite(self.divergence)
        gained = np.subtract(other.each, self.each)
        if len(gained) < 2 or not math.isfinite(self.divergence):
            return False
        return bool(gained.mean() > gained.std(ddof=1) / math.sqrt(len(gained)))


def hold_back(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Samples to code with, and ``share`` of them (at most `MOST_HELD`) held back.

    Raises:
        CalibrationError: fewer than `LEAST_SAMPLES`.
    """
    count = len(samples)
    if count < LEAST_SAMPLES:
        raise CalibrationError(
            "some samples are held back to judge by",
            expected=LEAST_SAMPLES,
            got=count,
        )
    order = np.random.default_rng(seed).permutation(count)
    held = min(MOST_HELD, max(1, round(share * count)))
    return samples.select(np.sort(order[held:])), samples.select(np.sort(order[:held]))


@dataclass(frozen=True)
class Split:
    """``fit``: samples to code with. ``held``: samples to prove the file with, none of them in
    ``fit`` if ``apart``, else the same."""

    fit: Samples
    held: Samples
    apart: bool


def split(samples: Samples, seed: int) -> Split:
    """One of ten samples is held back, `MOST_PROOFS` at most; none where there are fewer than
    `LEAST_TO_SPLIT`, of which each one counts in coding (docs/decisions/0024).

    A sample that is given several times is one sample: all of it is on one side.
    """
    alike = copies(samples)
    if len(alike) < LEAST_TO_SPLIT:
        return Split(samples, samples, apart=False)
    order = np.random.default_rng(seed).permutation(len(alike))
    count = min(MOST_PROOFS, max(1, len(alike) // 10))
    held = sorted(alike[number][0] for number in order[:count])
    fit = sorted(place for number in order[count:] for place in alike[number])
    return Split(samples.select(fit), samples.select(held), apart=True)


class Judge:
    """Compares compressed files with the float ``network`` on ``samples``, ``chunk`` at a time."""

    def __init__(
        self, network: Network, samples: Samples, device: torch.device, chunk: int | None = None
    ) -> None:
        self.samples = samples
        self._module = GraphModule(network).to(device).eval()
        self._device = device
        self._chunk = chunk or chunk_size(self._module, samples, device)

    @torch.no_grad()
    def score(self, path: Path) -> Score:
        """Run the file (on the native kernels where there are any) and compare."""
        model = load(path)
        distance, sums, drops = Distance(), [], []
        for batch in self.samples.batches(self._chunk):
            inputs = on_device(batch, self._device).values()
            wanted = tuple(x.cpu() for x in as_tuple(self._module(*inputs)))
            for output in wanted:
                if bool(output.isnan().any()):
                    raise RunError("NaN in the outputs of the float network")
            results = model.run(batch)
            found = results if isinstance(results, tuple) else (results,)
            got = tuple(torch.from_numpy(np.asarray(x)) for x in found)
            count = batch.count
            for number in range(count):
                one = (of_one(outputs, number, count) for outputs in (wanted, got))
                sums.append(distance.sums(*one))
            if is_classifier(wanted):
                drops.append(_drops(wanted[0], got[0]))
        each = distance.of_each(np.array(sums))
        mean = float(each.mean())
        score = _score(mean, torch.cat(drops)) if drops else Score(mean)
        return replace(score, each=tuple(map(float, each)))


def is_classifier(outputs: tuple[Tensor, ...]) -> bool:
    """One output of class scores [N, C]."""
    return len(outputs) == 1 and are_scores(outputs[0])


def _drops(wanted: Tensor, got: Tensor) -> Tensor:
    """p[argmax wanted] - p[argmax got] of each sample, p = softmax(wanted); NaN where the
    best class is the same: a drop of zero is a flip between equals."""
    p = wanted.softmax(1)
    best, chosen = wanted.argmax(1), got.argmax(1)
    rows = torch.arange(len(p))
    lost = p[rows, best] - p[rows, chosen]
    return torch.where(best == chosen, torch.full_like(lost, torch.nan), lost)


def _score(mean: float, drops: Tensor) -> Score:
    same = drops.isnan()
    lost = drops.nan_to_num(0.0)
    count = len(drops)
    spread = math.sqrt(float(lost.square().sum()) + ONE_FLIP**2) / count
    return Score(mean, 100 * float(same.float().mean()), 100 * float(lost.mean()), 100 * spread)
