"""The best candidate for every layer within a budget: a multiple-choice knapsack.

Lagrangian relaxation comes first: each layer minimises harm + price * cost, and the price is
bisected. Then the rest of the budget is spent greedily on the upgrade with the best gain per cost.
For every price

    sum over layers of min(harm + price * cost) - price * budget

is a lower bound of the harm of any choice within the budget; the largest one found says how far the
choice can be from the best (Sinha and Zoltners 1979).

Where few layers have few candidates the relaxation can miss by much: `choose_finely` also goes
through all choices by dynamic programming, costs rounded up to steps of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.compression.planning.candidates import Candidate

Choices = Mapping[str, list[Candidate]]
Cost = Callable[[Candidate], float]

_STEPS = 100
_LEAST_PRICE = 1e-18
_HIGHEST_PRICE = 1e6
# Of what the budget leaves above the cheapest choice.
_PARTS = 10_000


@dataclass(frozen=True)
class Choice:
    """One candidate a layer, their total ``harm``, and a ``bound`` below which no choice
    within the budget can be."""

    chosen: dict[str, Candidate]
    harm: float
    bound: float

    @property
    def gap(self) -> float:
        """The most that ``harm`` is above the least there is, relative to ``harm``."""
        return max(0.0, (self.harm - self.bound) / self.harm) if self.harm > 0 else 0.0


def stored(candidate: Candidate) -> float:
    """The cost of a candidate where the budget is of bytes."""
    return float(candidate.bytes)


def least(choices: Choices, cost: Cost = stored) -> float:
    """The smallest budget that the choices can be held to."""
    return sum(min(cost(candidate) for candidate in found) for found in choices.values())


def choose(choices: Choices, budget: float, cost: Cost = stored) -> Choice:
    """The candidate of every layer with the least total harm within ``budget``.

    The layers must fit the budget with their cheapest candidates (`least`).
    """
    low, high = 0.0, _HIGHEST_PRICE
    best = {w: min(found, key=lambda c: (cost(c), c.harm)) for w, found in choices.items()}
    bound = sum(min(c.harm for c in found) for found in choices.values())
    for _ in range(_STEPS):
        price = (low * high) ** 0.5 if low > 0 else high / 1e3
        trial = {
            weight: min(found, key=lambda c: (c.harm + price * cost(c), cost(c)))
            for weight, found in choices.items()
        }
        spent = _total(trial, cost)
        bound = max(bound, _harm(trial) + price * (spent - budget))
        if spent <= budget:
            best, high = trial, price
        else:
            low = price
        if high < _LEAST_PRICE:
            break
    chosen = _spend_rest(choices, best, budget, cost)
    harm = _harm(chosen)
    return Choice(chosen, harm, min(bound, harm))


def choose_finely(choices: Choices, budget: float, cost: Cost = stored) -> Choice:
    """`choose`, or the best choice of rounded costs where that has less harm.

    A layer's cost above its cheapest candidate's is rounded up to a ten-thousandth of the budget
    above all cheapest candidates.
    """
    relaxed = choose(choices, budget, cost)
    stepped = _by_steps(choices, (budget - least(choices, cost)) / _PARTS, cost)
    harm = _harm(stepped)
    if harm >= relaxed.harm or _total(stepped, cost) > budget:
        return relaxed
    return Choice(stepped, harm, min(relaxed.bound, harm))


def _by_steps(choices: Choices, step: float, cost: Cost) -> dict[str, Candidate]:
    """The least harm within `_PARTS` steps: harms of the layers so far by the steps they may
    take, a row of picks a layer, and back from the last."""
    harms = np.zeros(_PARTS + 1)
    rows: list[tuple[str, list[int], NDArray[np.int64]]] = []
    for name, found in choices.items():
        cheapest = min(map(cost, found))
        steps = [_steps(cost(candidate) - cheapest, step) for candidate in found]
        table = np.full((len(found), _PARTS + 1), np.inf)
        for row, candidate, taken in zip(table, found, steps, strict=True):
            row[taken:] = harms[: max(0, _PARTS + 1 - taken)] + candidate.harm
        rows.append((name, steps, table.argmin(0)))
        harms = table.min(0)
    left, chosen = _PARTS, {}
    for name, steps, picks in reversed(rows):
        pick = int(picks[left])
        chosen[name] = choices[name][pick]
        left -= steps[pick]
    return {name: chosen[name] for name in choices}


def _steps(more: float, step: float) -> int:
    """Rounded up; beyond all there are where none is left."""
    if more <= 0:
        return 0
    return min(_PARTS + 1, -int(-more // step)) if step > 0 else _PARTS + 1


def _total(chosen: Mapping[str, Candidate], cost: Cost) -> float:
    return sum(cost(candidate) for candidate in chosen.values())


def _harm(chosen: Mapping[str, Candidate]) -> float:
    return sum(candidate.harm for candidate in chosen.values())


def _spend_rest(
    choices: Choices, chosen: dict[str, Candidate], budget: float, cost: Cost
) -> dict[str, Candidate]:
    while True:
        left = budget - _total(chosen, cost)
        upgrades = [
            (_gain(now, c, cost), weight, c)
            for weight, now in chosen.items()
            for c in choices[weight]
            if c.harm < now.harm and cost(c) - cost(now) <= left
        ]
        if not upgrades:
            return chosen
        _, weight, candidate = max(upgrades, key=lambda u: (u[0], u[1]))
        chosen = chosen | {weight: candidate}


def _gain(now: Candidate, then: Candidate, cost: Cost) -> float:
    """Harm saved per cost; candidates that cost no more come first."""
    more = cost(then) - cost(now)
    return (now.harm - then.harm) / more if more > 0 else float("inf")
