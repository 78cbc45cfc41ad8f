"""Plans carried out on a part of the samples, and judged on the rest: the best of several.

The plan of least predicted harm is tried against one format for all layers (the choice that one
would make by hand). It is also tried against plans that weigh errors otherwise:

- by the share that their readers see, counted more (docs/decisions/0018);
- errors of later layers more, as fewer layers behind make them good;
- errors of the output layers more or less.

Some of their files may be closer to the float network on held-back samples by more than may be
chance: the closest is kept. Otherwise the plan of least harm is kept (docs/decisions/0023). (Ours.)
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from subbyte.compression.encoding.layerwise import LayerwiseEncoder
from subbyte.compression.encoding.write_file import write_coded
from subbyte.compression.planning.candidates import Candidate
from subbyte.compression.planning.coding_plan import Planned, planned_from
from subbyte.compression.planning.knapsack import Choice, choose_finely, stored
from subbyte.compression.planning.search_space import SENSITIVITY_POWER, Prices
from subbyte.compression.run import Run
from subbyte.compression.validation import Judge, Score
from subbyte.progress import renamed, silent

HELD = 0.25
OUTPUT_WEIGHTS = (4.0, 0.25)
# How much more an error of the last layer counts than one of the first, geometric between.
LATER_WEIGHT = 4.0
# In place of `SENSITIVITY_POWER`.
OTHER_POWER = 0.5

Trial = Callable[[Planned], Score]


class Trials:
    """Compresses the network of ``run``, without tuning, and has the file judged."""

    def __init__(self, run: Run, judge: Judge) -> None:
        self._run, self._judge, self._count = run, judge, 0

    def run(self, planned: Planned) -> Score:
        """Carry a plan out."""
        self._count += 1
        part = replace(self._run, progress=renamed(self._run.progress, f"trial {self._count}"))
        encoded = LayerwiseEncoder(part, planned.plan).run()
        written = write_coded(replace(part, progress=silent), encoded, self._judge.samples)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.onnx"
            path.write_bytes(written.SerializeToString())
            return self._judge.score(path)


class Others(Protocol):
    """Makes plans for a budget."""

    def least_harm(self, weights: Mapping[str, float]) -> Planned:
        """The least total harm, where a layer's harm counts ``weights`` times, or once."""

    def one_format(self) -> Planned | None:
        """The best of one format for all layers; None if there is none."""


@dataclass(frozen=True)
class WithinBytes:
    """`Others` that store no more than ``planned``."""

    planned: Planned
    prices: Prices

    def least_harm(self, weights: Mapping[str, float]) -> Planned:
        """`Others.least_harm`."""
        return self._planned(_weighted(self.prices, self._limit, weights))

    def one_format(self) -> Planned | None:
        """`uniform`."""
        choice = uniform(self.prices, self._limit)
        return None if choice is None else self._planned(choice)

    @property
    def _limit(self) -> float:
        assert self.planned.choice is not None  # noqa: S101 - plans for a budget have one
        return sum(map(stored, self.planned.choice.chosen.values()))

    def _planned(self, choice: Choice) -> Planned:
        assert self.planned.budget is not None  # noqa: S101 - as above
        return planned_from(self.planned.budget, choice, self.planned.facts, self.planned.uncoded)


def best_by_trial(
    planned: Planned,
    others: Others,
    prices: Prices,
    outputs: Collection[str],
    count: int,
    trial: Trial,
) -> Planned:
    """The best of the first ``count`` contenders.

    Contenders count that are `Score.clearly_below` ``planned``, the plan of least predicted harm.
    The one with the least divergence is best; ``planned`` where there is none.

    ``outputs``: weights of the output layers.
    """
    # All plans first: for a latency they are measured, which is not done between heavy work.
    found = list(islice(contenders(planned, others, prices, outputs), count))
    scores = {name: trial(contender) for name, contender in found}
    first = next(iter(scores))
    closer = [name for name in scores if scores[name].clearly_below(scores[first])]
    chosen = min(closer, key=lambda name: scores[name].divergence, default=first)
    results = ", ".join(f"{name} {score.divergence:.4f}" for name, score in scores.items())
    said = f"by trial, divergence on held-back samples: {results}; taken: {chosen}"
    if any(score.divergence < scores[chosen].divergence for score in scores.values()):
        said += ", as less may be chance"
    best = dict(found)[chosen]
    return replace(best, facts=[*best.facts, said])


def contenders(
    planned: Planned, others: Others, prices: Prices, outputs: Collection[str]
) -> Iterator[tuple[str, Planned]]:
    """Different plans for the budget of ``planned``, each with its name."""
    seen = [planned.plan]
    yield "least harm", planned
    for name, contender in _all(others, prices, outputs):
        if contender is not None and contender.plan not in seen:
            seen.append(contender.plan)
            yield name, _bounded(contender, planned)


def _all(
    others: Others, prices: Prices, outputs: Collection[str]
) -> Iterator[tuple[str, Planned | None]]:
    yield "one format for all layers", others.one_format()
    power = OTHER_POWER - SENSITIVITY_POWER
    more = {weight: seen**power for weight, seen in prices.sensitivities.items()}
    yield "sensitivities count more", others.least_harm(more)
    yield "later layers count more", others.least_harm(_later(prices))
    for weight in OUTPUT_WEIGHTS:
        yield f"output layers {weight:g}-fold", others.least_harm(dict.fromkeys(outputs, weight))


def _bounded(contender: Planned, planned: Planned) -> Planned:
    """The bound that no plan within the budget can be below is known from the first."""
    assert contender.choice is not None and planned.choice is not None  # noqa: S101, PT018
    return replace(contender, choice=replace(contender.choice, bound=planned.choice.bound))


def uniform(prices: Prices, limit: float) -> Choice | None:
    """The one format for all layers that harms least within ``limit`` bytes; layers that are
    kept at 8 bits by default keep them. None if no format fits."""
    choices = prices.precise()
    coded = [weight for weight in choices if weight not in prices.kept]
    if not coded:
        return None
    best: dict[str, Candidate] | None = None
    for form in (candidate.options for candidate in choices[coded[0]]):
        chosen = {w: next((c for c in choices[w] if c.options == form), None) for w in coded}
        whole = {w: c for w, c in chosen.items() if c is not None}
        whole |= {weight: choices[weight][0] for weight in prices.kept}
        fits = len(whole) == len(choices) and sum(map(stored, whole.values())) <= limit
        if fits and (best is None or _harm(whole) < _harm(best)):
            best = whole
    return None if best is None else Choice(best, _harm(best), 0.0)


def _later(prices: Prices) -> dict[str, float]:
    """The weights of the layers: from 1 to `LATER_WEIGHT` in the order of execution."""
    last = max(1, len(prices.layers) - 1)
    return {
        layer.weight: LATER_WEIGHT ** (number / last) for number, layer in enumerate(prices.layers)
    }


def _weighted(prices: Prices, limit: float, weights: Mapping[str, float]) -> Choice:
    choices = {
        name: [replace(c, harm=c.harm * weights.get(name, 1.0)) for c in found]
        for name, found in prices.within(limit).items()
    }
    choice = choose_finely(choices, limit)
    plain = {name: prices.candidate(name, c.options) for name, c in choice.chosen.items()}
    return Choice(plain, _harm(plain), 0.0)


def _harm(chosen: Mapping[str, Candidate]) -> float:
    return sum(candidate.harm for candidate in chosen.values())
