"""The fewest bits that keep the accuracy, found by compressing and looking.

Budgets of bits are tried, by bisection: each plan is carried out on a part of the samples, and the
file judged on the held-back ones (`validation`). Without labels, the loss is estimated by the float
network's own probabilities. They are most often too sure of themselves, so that the estimate is too
high rather than too low. A plan passes if the estimate and `SURE` standard errors together stay
within the allowed loss. (Ours.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from subbyte.budgets import LEAST_BITS, MOST_BITS, Budget
from subbyte.compression.planning.by_size import plan_bits
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.knapsack import least
from subbyte.compression.planning.search_space import Prices
from subbyte.compression.validation import Score
from subbyte.errors import BudgetError, OptionError

HELD = 0.4
# Of a normal distribution, 95% lie below its mean and so many standard deviations.
SURE = 1.645
FIRST_BITS = 3.0
_ROUNDS = 7
_STEP = 0.1

Trial = Callable[[Planned], Score]


def plan_drop(prices: Prices, trial: Trial, budget: Budget) -> Planned:
    """The plan of the fewest bits that loses at most ``budget.value`` points.

    ``trial`` carries a plan out and judges it.

    Raises:
        OptionError: a network without one output of class scores.
        BudgetError: more is lost even with the most bits, or more may be for all that so
            few samples can tell.
    """
    low, high = _extent(prices)
    bits, found = min(max(FIRST_BITS, low), high), None
    for _ in range(_ROUNDS):
        planned = plan_bits(prices, Budget("bits", bits))
        score = trial(planned)
        if _most(score) <= budget.value:
            found, high = (planned, score), bits
        elif found is None and bits == high:
            raise _out_of_reach(score, bits, budget)
        else:
            low = bits
        if found is not None and high - low < _STEP:
            break
        # Until something passes, it is the most bits that decide whether anything can.
        bits = high if found is None else (low + high) / 2
    assert found is not None  # noqa: S101 - the second round at the latest passes or raises
    planned, score = found
    return replace(planned, budget=budget, facts=[*planned.facts, _said(score)])


def _extent(prices: Prices) -> tuple[float, float]:
    """The least and the most bits per weight that the network can be coded with."""
    most = sum(max(c.bytes for c in found) for found in prices.choices.values())
    low, high = prices.bits(least(prices.choices)), prices.bits(most)
    return max(low * (1 + 1e-9), LEAST_BITS), min(high, MOST_BITS)


def _most(score: Score) -> float:
    """The largest loss, in points, at 95% confidence."""
    if score.lost is None or score.uncertainty is None:
        raise OptionError(
            "`max_drop` needs class scores",
            expected="one output [N, classes]",
            got="another output",
        )
    return score.lost + SURE * score.uncertainty


def _out_of_reach(score: Score, bits: float, budget: Budget) -> BudgetError:
    most = math.ceil(100 * _most(score)) / 100
    hints = [f"`max_drop={most:.2f}` is within reach"] if most < 100 else []
    if score.lost is not None and score.lost <= budget.value:
        hints.append("more calibration samples make the estimate surer")
    return BudgetError(
        f"`max_drop` out of reach, even with {bits:.3g} bits per weight, the most that there are",
        expected=f"at most {budget.value:g} points lost, at 95% confidence",
        got=f"up to {most:.2f} points on {len(score.each)} held-back samples ({_in_words(score)})",
        hint="; ".join(hints) or None,
    )


def _said(score: Score) -> str:
    return f"on held-back samples: {_in_words(score)}, agreement {score.agreement:.1f}%"


def _in_words(score: Score) -> str:
    return f"{score.lost:.2f} points lost, standard error {score.uncertainty:.2f}"
