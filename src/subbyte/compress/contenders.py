"""Other plans for the same budget, and the best of them by trial.

The plan of least predicted harm is tried against one form for all layers (what one would
choose by hand), and against plans for which what readers see of an error counts more
(docs/decisions/0018), errors of later layers, behind which less makes them good, or those of
the output layers more or less. What is kept is the plan whose file is closest to the float
network on held-back samples: with the first two tried, never one that is worse there than a
single form for all. (Ours.)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from subbyte.compress.candidates import Candidate
from subbyte.compress.held import Score
from subbyte.compress.knapsack import Choice, choose_finely, stored
from subbyte.compress.plan import Planned, planned_from
from subbyte.compress.prices import GAIN_POWER, Prices

HELD = 0.25
OUTPUT_WEIGHTS = (4.0, 0.25)
# How much more an error of the last layer counts than one of the first, geometric between.
LATER_WEIGHT = 4.0
# In place of `GAIN_POWER`.
OTHER_POWER = 0.5

Trial = Callable[[Planned], Score]


def best_by_trial(
    planned: Planned, prices: Prices, outputs: Collection[str], count: int, trial: Trial
) -> Planned:
    """The plan with the least divergence of the first ``count`` contenders.

    ``planned``: that of least predicted harm. ``outputs``: weights of the output layers.
    """
    tried: list[tuple[float, int, str, Planned]] = []
    for name, contender in islice(contenders(planned, prices, outputs), count):
        score = trial(contender)
        tried.append((score.divergence, len(tried), name, contender))
    _, _, chosen, best = min(tried, key=lambda t: t[:2])
    results = ", ".join(f"{name} {divergence:.4f}" for divergence, _, name, _ in tried)
    said = f"by trial, divergence on held-back samples: {results}; taken: {chosen}"
    return replace(best, facts=[*best.facts, said])


def contenders(
    planned: Planned, prices: Prices, outputs: Collection[str]
) -> Iterator[tuple[str, Planned]]:
    """Different plans for the budget of ``planned``, each with its name."""
    assert planned.choice is not None and planned.budget is not None  # noqa: S101, PT018
    limit = sum(map(stored, planned.choice.chosen.values()))
    seen = [planned.plan]
    yield "least harm", planned
    more = {weight: gain ** (OTHER_POWER - GAIN_POWER) for weight, gain in prices.gains.items()}
    weights = {"gains count more": more, "later layers count more": _later(prices)}
    weights |= {f"output layers {w:g}-fold": dict.fromkeys(outputs, w) for w in OUTPUT_WEIGHTS}
    found = [("one form for all layers", uniform(prices, limit))]
    found += [(name, _weighted(prices, limit, counted)) for name, counted in weights.items()]
    for name, choice in found:
        if choice is not None:
            # What no plan within the budget can be below, is known from the first.
            bounded = replace(choice, bound=planned.choice.bound)
            contender = planned_from(planned.budget, bounded, planned.facts)
            if contender.plan not in seen:
                seen.append(contender.plan)
                yield name, contender


def uniform(prices: Prices, limit: float) -> Choice | None:
    """The one form for all layers that harms least within ``limit`` bytes; layers that are
    kept at 8 bits by default keep them. None if no form fits."""
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
    """From 1 to `LATER_WEIGHT` in the order of execution."""
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
