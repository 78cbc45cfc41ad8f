"""Plans that keep to a latency, as it is measured on blank files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from subbyte.budgets import Budget
from subbyte.compression.latency.machine import THIS_MACHINE, Machine
from subbyte.compression.latency.model import LatencyModel, latency_model
from subbyte.compression.planning.candidates import Candidate
from subbyte.compression.planning.coding_plan import Planned, options_of, planned_from
from subbyte.compression.planning.knapsack import Choice, Choices, choose, choose_finely, least
from subbyte.compression.planning.latency_fit import BlankFiles, fitted_model, seconds_of_eight
from subbyte.compression.planning.plan_file import Plan
from subbyte.compression.planning.search_space import Prices, price
from subbyte.compression.run import Run
from subbyte.errors import BudgetError
from subbyte.methods import EIGHT_BITS

# Plans tried for a latency, and how much of it may be left.
ROUNDS = 10
_SLACK = 0.005
# A plan keeps to the budget if so many of three measurements do: times differ by a few percent each
# time a file is opened, and of many plans some seem to be fast enough by chance.
_MAJORITY = 2
# Single formats are measured that are predicted to take so much more than the budget at most.
_MARGIN = 0.02


def latency_plans(
    run: Run, budget: Budget, machine: Machine = THIS_MACHINE, rounds: int = ROUNDS
) -> LatencyPlans:
    """The material of plans for a latency: prices, with times that are fitted.

    Raises:
        TimingsError: no kernel timings of this machine.
    """
    timings = machine.timings(run.config.timings)
    model = latency_model(run, timings, machine.least_work)
    prices = price(run)
    model = fitted_model(run, model, prices, machine)
    return LatencyPlans(run, prices.timed(model), model, budget, machine, rounds)


class LatencyPlans:
    """Plans within so many milliseconds a sample.

    The times of the layers, and of the rest of the network, come from ``model``, which is fitted.
    Blank files of plans are measured, beside one of 8 bits. Only the ratio of the two times counts:
    it gives the time on a machine as fast as when ``model`` was fitted. ``rounds``: the plans that
    are tried at most on the way to the budget.
    """

    def __init__(
        self,
        run: Run,
        prices: Prices,
        model: LatencyModel,
        budget: Budget,
        machine: Machine = THIS_MACHINE,
        rounds: int = ROUNDS,
    ) -> None:
        self.prices, self._model, self._budget = prices, model, budget
        self._progress, self._rounds = run.progress, rounds
        self._choices = {weight: _faster(found) for weight, found in prices.precise().items()}
        self._files = BlankFiles(run, self._choices, model, machine)
        self._eight = seconds_of_eight(model, self._choices)
        self._seconds = budget.value / 1e3
        self._measured: list[tuple[Plan, list[float]]] = []

    def least_harm(self, weights: Mapping[str, float] | None = None) -> Planned:
        """The plan of the least total relative error; a layer's error counts ``weights`` times (or
        once).

        A single format that keeps to the budget never has less, though it need not be among the
        plans that are measured on the way.

        Raises:
            BudgetError: the plan that is predicted to be the fastest takes longer, and so do the
                single formats that might keep to it.
        """
        counted = {
            name: [replace(c, harm=c.harm * (weights or {}).get(name, 1.0)) for c in found]
            for name, found in self._choices.items()
        }
        found = self._fitted(counted)
        single = next(self._single_formats(counted, found.harm), None)
        return self._planned(found if single is None else replace(single, bound=found.bound))

    def one_format(self) -> Planned | None:
        """The format of least harm with which all layers that it makes faster keep to the budget,
        the others at 8 bits. None if there is none."""
        found = next(self._single_formats(self._choices), None)
        return None if found is None else self._planned(found)

    def _fitted(self, choices: Choices) -> Choice:
        """The choice of least harm whose blank file is measured to keep to the budget.

        The layers get less or more until one file takes just that."""
        budget = self._seconds
        fastest = least(choices, _time)
        limit = max(fastest, _microseconds(budget - self._model.beside))
        bounds = []
        for number in range(self._rounds):
            self._progress("try", number, self._rounds, "")
            choice = choose_finely(choices, limit, _time)
            bounds.append(choice.bound)
            taken = self._taken(options_of(choice))
            if (1 - _SLACK) * budget < taken <= budget:
                break
            limit = max(fastest, limit + _microseconds(budget - taken))
        self._progress("try", self._rounds, self._rounds, "")
        plans = [plan for plan, _ in self._measured if self._taken(plan) <= budget]
        kept = [_chosen(choices, plan) for plan in plans]
        best = min(kept, key=lambda choice: choice.harm, default=None) or self._last_resort(choices)
        # Of rounds with less than the budget the bounds are too high.
        return replace(best, bound=min(bounds))

    def _last_resort(self, choices: Choices) -> Choice:
        """The plan that is predicted to be the fastest, or a single format that is faster than
        predicted.

        The plan is measured again: a time that was measured while other work ran may be too long,
        and a budget is not refused for that.
        """
        self._measured.clear()
        choice = choose(choices, least(choices, _time), _time)
        if self._taken(options_of(choice)) <= self._seconds:
            return choice
        single = next(self._single_formats(choices), None)
        if single is None:
            taken = min(statistics.median(times) for _, times in self._measured)
            raise BudgetError(
                "`latency` out of reach for this network on this machine",
                expected=f"at least {-(-taken * 1e6 // 1) / 1e3:.3f} ms",
                got=f"{self._budget.value:g} ms",
            )
        return single

    def _single_formats(self, choices: Choices, below: float = math.inf) -> Iterator[Choice]:
        """The single formats that keep to the budget with less harm than ``below``, the least harm
        first."""
        limit = (1 + _MARGIN) * _microseconds(self._seconds - self._model.beside)
        forms = dict.fromkeys(
            candidate.options for found in choices.values() for candidate in found
        )
        singles = [_chosen(choices, dict.fromkeys(choices, form)) for form in forms]
        for single in sorted(singles, key=lambda single: single.harm):
            predicted, plan = sum(map(_time, single.chosen.values())), options_of(single)
            if single.harm < below and predicted <= limit and self._taken(plan) <= self._seconds:
                yield single

    def _taken(self, plan: Plan) -> float:
        """Seconds of the blank file.

        The median of two measurements that both keep to the budget or both do not, or of three.
        Known measurements are not made again.
        """
        times = next((times for known, times in self._measured if known == plan), None)
        if times is None:
            times = []
            self._measured.append((plan, times))
        while max(_votes(times, self._seconds)) < _MAJORITY:
            times.append(self._files.relative(plan) * self._eight)
        return statistics.median(times)

    def _planned(self, choice: Choice) -> Planned:
        """The plan, with the harms as they are."""
        plan, beside = options_of(choice), self._model.beside
        plain = _chosen(self._choices, plan)
        predicted = beside + sum(c.seconds or 0.0 for c in plain.chosen.values())
        timings = self._model.timings
        said = (
            f"{timings.cpu}, {timings.isa}, one thread: {self._taken(plan) * 1e3:.3f} ms a sample "
            f"measured, {predicted * 1e3:.3f} ms predicted, of which {beside * 1e3:.3f} ms are not "
            "layers"
        )
        bounded = replace(plain, bound=min(choice.bound, plain.harm))
        return planned_from(self._budget, bounded, [said], self.prices.uncoded)


def _chosen(choices: Choices, plan: Plan) -> Choice:
    """The format of ``plan`` where it is a candidate, elsewhere the candidate of least harm."""
    chosen = {
        weight: next(
            (c for c in found if c.options == plan[weight]), min(found, key=lambda c: c.harm)
        )
        for weight, found in choices.items()
    }
    return Choice(chosen, sum(c.harm for c in chosen.values()), 0.0)


def _votes(times: Sequence[float], budget: float) -> tuple[int, int]:
    """How many of ``times`` keep to ``budget``, and how many do not."""
    within = sum(taken <= budget for taken in times)
    return within, len(times) - within


def _faster(found: Sequence[Candidate]) -> list[Candidate]:
    """8 bits, where it is a candidate, and every faster candidate.

    Under a limit of time alone nothing is gained by fewer bits in a layer that is not looked up.
    """
    eight = next((_time(c) for c in found if c.options == EIGHT_BITS), None)
    return [c for c in found if eight is None or c.options == EIGHT_BITS or _time(c) < eight]


def _time(candidate: Candidate) -> float:
    return _microseconds(candidate.seconds or 0.0)


def _microseconds(seconds: float) -> float:
    return seconds * 1e6
