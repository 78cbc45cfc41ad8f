"""Values whose rounding to eight bits the network's outputs do not bear.

A layer's own output does not tell all: later nodes may divide by it, or take its logarithm or its
exponential, and then small values, or values just beyond the range, count for much. So the network
is run with every carried value rounded, each fold of the samples over ranges that were made without
it: as new samples are run. Where that alone moves an output by more than `HARM`, groups of values
are rounded apart. (The mean over samples and its standard error count: a few samples may be moved
by far the most.) A group that moves an output by more than `ALONE[0]` stays float. Where the others
still do too much together, groups from `ALONE[1]` on follow (docs/decisions/0030).

An output is moved by its squared error over its variance. Class scores are moved by the KL (nats)
or by `OF_SCORES` times that error, whichever is more: an output [N, C] need not be of scores.

Groups are judged on the `WORST` samples, which all values together move most. The result counts for
all samples in the ratio in which all values together do. They are searched by halves, in
the order of the graph. A half that moves no output by more than that holds no such group.

Ours; the papers have no activations of eight bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.value_ranges import Measured, dealt
from subbyte.compression.divergence import are_scores, compared, kl_sums, of_one, squares
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.islands.shared_scales import Group
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams

SAMPLES = 64
WORST = 8
HARM = 0.05
ALONE = (0.01, 0.0025)
OF_SCORES = 0.4
"""As a proof warns of class scores from an error of 0.25 on, of other outputs from 0.1 on."""

_MOST = 1e6
_CONSTANT = 1e-12

Outputs = list[Tensor]
Params = Mapping[str, QuantParams]
"""Of values, by name."""


@torch.no_grad()
def harmful(
    run: Run,
    module: GraphModule,
    plan: IslandPlan,
    ranges: Mapping[str, Measured],
    alone: float = ALONE[0],
) -> dict[str, str]:
    """The groups of ``plan`` that stay float, as they move an output by more than ``alone``, with
    the reason; empty where all together move none by more than `HARM`.

    ``module``: the compressed network; ``ranges``: of each group.
    """
    judge = _Judge(run, module, plan, ranges)
    moved = judge.moved()
    if not moved.size:
        return {}
    error = moved.std(axis=0) / np.sqrt(len(moved))
    if (moved.mean(axis=0) + error).max() <= HARM:
        return {}
    return _Search(run, judge, moved, alone).found()


@dataclass(frozen=True)
class _Part:
    """A batch of ``count`` samples of a fold, and the outputs of the network for it."""

    fold: int
    count: int
    inputs: Mapping[str, Tensor]
    exact: Outputs


class _Judge:
    """Runs the network with values rounded over the ranges without the samples that are run."""

    def __init__(
        self, run: Run, module: GraphModule, plan: IslandPlan, ranges: Mapping[str, Measured]
    ) -> None:
        self.run, self.module, self.ranges = run, module, ranges
        self.folds = dealt(run.samples.first(SAMPLES))
        self.chunk = chunk_size(module, run.samples, run.device)
        groups = {group.name: group for group in plan.groups}
        self.carried = {name: groups[group] for name, group in carried_values(module, plan).items()}
        made = {name: place for place, step in enumerate(module.steps) for name in step.outputs}
        # -1: of inputs.
        self.made = {name: made.get(name, -1) for name in self.carried}

    def parts(self, wanted: Sequence[Sequence[int]]) -> Iterator[_Part]:
        """The samples at the places ``wanted`` of each fold."""
        for number, (fold, places) in enumerate(zip(self.folds, wanted, strict=True)):
            for batch in fold.select(places).batches(self.chunk):
                inputs = on_device(batch, self.run.device)
                exact = self.outputs(dict(inputs), 0, {})
                yield _Part(number, batch.count, inputs, exact)

    def params(self, groups: Sequence[Group], fold: int) -> dict[str, QuantParams]:
        """Of the values of ``groups`` on samples of ``fold``."""
        own = {group.name: self._params(group, fold) for group in groups}
        return {name: own[g.name] for name, g in self.carried.items() if g.name in own}

    def _params(self, group: Group, fold: int) -> QuantParams:
        found = self.ranges[group.name].without[fold]
        return group.params(found.low, found.high)

    def moved(self) -> NDArray[np.float64]:
        """How far all values together move each output, of every sample: [samples, outputs]."""
        groups = list({group.name: group for group in self.carried.values()}.values())
        every = [range(len(fold)) for fold in self.folds]
        sums = []
        for part in self.parts(every):
            got = self.outputs(dict(part.inputs), 0, self.params(groups, part.fold))
            sums += _sums(part, got)
        self.spread = _spread(np.array(sums))
        return self.shares(sums)

    def shares(self, sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Of `_sums` of samples the distance of each: [samples, outputs]."""
        kl, count, squared = np.moveaxis(np.array(sums), 2, 0)[[0, 1, 2]]
        with np.errstate(invalid="ignore", over="ignore"):
            error = squared / np.maximum(count, 1) / self.spread
            moved = np.where(np.isnan(kl), error, np.fmax(kl, OF_SCORES * error))
        return np.nan_to_num(np.minimum(moved, _MOST), nan=_MOST)

    def outputs(self, values: dict[str, Tensor], first: int, params: Params) -> Outputs:
        """The outputs from the ``values`` before step ``first``, with the values in ``params``
        rounded as they are made (inputs, where ``first`` is 0)."""
        module = self.module
        if first == 0:
            values |= {n: rounded(values[n], params[n]) for n in values.keys() & params.keys()}
        for place in range(first, len(module.steps)):
            module.run(values, place, place + 1)
            for name in module.steps[place].outputs:
                if name in values and name in params:
                    values[name] = rounded(values[name], params[name])
        return [values[n] if n in values else module.constant(n) for n in module.output_names]


class _Search:
    """The search for groups that do harm alone, on the worst samples of ``moved`` by `_Judge`."""

    def __init__(self, run: Run, judge: _Judge, moved: NDArray[np.float64], alone: float) -> None:
        self._run, self._judge, self._alone = run, judge, alone
        worst = np.sort(np.argsort(-moved.max(axis=1), kind="stable")[:WORST])
        ends = np.cumsum([0, *map(len, judge.folds)])
        folds = pairwise(ends)
        wanted = [[int(w - start) for w in worst if start <= w < end] for start, end in folds]
        self._parts = list(judge.parts(wanted))
        of_worst = moved[worst].sum(axis=0)
        self._ratio = np.where(of_worst > 0, moved.sum(axis=0) / np.maximum(of_worst, 1e-30), 1)
        self._ratio /= len(moved)
        self._place = 0
        self._values = [dict(part.inputs) for part in self._parts]
        first: dict[Group, int] = {}
        for name, group in judge.carried.items():
            first[group] = min(first.get(group, judge.made[name]), judge.made[name])
        self._first = dict(sorted(first.items(), key=lambda item: item[1]))

    def found(self) -> dict[str, str]:
        """The groups, by name, with the reason."""
        return self._among(list(self._first))

    def _among(self, groups: Sequence[Group], done: int = 0) -> dict[str, str]:
        self._run.progress("ranges", done, len(self._first), groups[0].name)
        moved = self._moved(groups)
        if moved <= self._alone:
            return {}
        if len(groups) == 1:
            reason = f"not fit for 8 bits: it alone moves an output by {moved:.2g}"
            return {groups[0].name: reason}
        half = len(groups) // 2
        return self._among(groups[:half], done) | self._among(groups[half:], done + half)

    def _moved(self, groups: Sequence[Group]) -> float:
        """How far ``groups`` move the output that they move most, as the mean of all samples."""
        self._go_to(max(0, self._first[groups[0]]))
        sums = []
        for part, values in zip(self._parts, self._values, strict=True):
            params = self._judge.params(groups, part.fold)
            sums += _sums(part, self._judge.outputs(dict(values), self._place, params))
        return float((self._judge.shares(sums).sum(axis=0) * self._ratio).max())

    def _go_to(self, place: int) -> None:
        """Compute the exact values before step ``place``; groups are searched in this order."""
        for values in self._values:
            self._judge.module.run(values, self._place, place)
        self._place = place


def carried_values(module: GraphModule, plan: IslandPlan) -> dict[str, str]:
    """The group of every carried value, without the values that a layer binarizes.

    The sign of a value near zero changes where it is rounded, and means little either way.
    """
    binarized = {step.inputs[0] for step in module.steps if step.plain is not None}
    return {name: group for name, group in plan.group_of.items() if name not in binarized}


def _sums(part: _Part, got: Outputs) -> list[NDArray[np.float64]]:
    """For every sample of ``part`` and every output the KL of scores (else NaN); number of entries,
    squared error, sum and sum of squares of the exact output: [outputs, 5].

    Values may decide about a shape (NonZero): such outputs cannot be compared, and count as equal.
    """
    sums = []
    for number in range(part.count):
        pairs = compared(*(of_one(outputs, number, part.count) for outputs in (part.exact, got)))
        sums.append(np.array([_sums_of(exact, other) for exact, other in pairs]))
    return sums


def _sums_of(exact: Tensor, other: Tensor) -> list[float]:
    if exact.shape != other.shape:
        other = exact
    squared, count, total, energy = squares(exact, other)
    kl = np.nan
    if are_scores(exact):
        kl_sum, rows, _, _ = kl_sums(exact, other)
        kl = kl_sum / max(rows, 1)
    return [kl, count, squared, total, energy]


def _spread(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variance of each output over all samples, from `_sums` of all; of an output that is the
    same everywhere its square."""
    count, _, total, energy = sums.sum(axis=0)[:, 1:].T
    count = np.maximum(count, 1)
    mean_square = energy / count
    variance = mean_square - (total / count) ** 2
    constant = variance <= _CONSTANT * mean_square
    return np.where(constant, np.maximum(mean_square, _CONSTANT), variance)


def rounded(value: Tensor, params: QuantParams) -> Tensor:
    """``value`` as uint8 carries it."""
    codes = (value / params.scale).round() + params.zero_point
    return (codes.clamp(0, 255) - params.zero_point) * params.scale
