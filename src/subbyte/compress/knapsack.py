"""The best candidate for every layer within a budget: a multiple-choice knapsack.

Lagrangian relaxation (each layer minimises harm + price * cost; the price is bisected),
then what is left of the budget is spent greedily on the upgrade with the best gain per
cost. For every price

    sum over layers of min(harm + price * cost) - price * budget

is a lower bound of the harm of any choice within the budget; the largest one found says how
far the choice can be from the best (Sinha and Zoltners 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from subbyte.compress.candidates import Candidate

Choices = Mapping[str, list[Candidate]]
Cost = Callable[[Candidate], float]

_STEPS = 100
_LEAST_PRICE = 1e-18
_HIGHEST_PRICE = 1e6


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
    """Harm saved per cost; what costs no more comes first."""
    more = cost(then) - cost(now)
    return (now.harm - then.harm) / more if more > 0 else float("inf")
