"""Which budget makes which plan: the one place that asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from subbyte.budgets import MOST_BITS, Budget
from subbyte.compression.latency.machine import THIS_MACHINE, Machine
from subbyte.compression.planning import by_accuracy, trials
from subbyte.compression.planning.by_latency import latency_plans
from subbyte.compression.planning.by_size import at_eight_bits, least_bits, plan_bits, plan_size
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.defaults import check_possible, default_plan
from subbyte.compression.planning.plan_file import planned_layers, read_plan
from subbyte.compression.planning.search_space import Prices, price
from subbyte.compression.run import Run
from subbyte.compression.validation import Judge, hold_back
from subbyte.graph.weight_layout import output_layers


def make_plan(run: Run, machine: Machine = THIS_MACHINE) -> Planned:
    """The options of every layer: from the plan file, the budget, or the defaults.

    Every layer's error counts relative to its output and by the share of it that the next layers
    see, as the layers after it make a part of it good. Weighting layers by their lone effect on the
    network's output did worse (docs/decisions). ``machine``: to keep to a latency on.

    Raises:
        BudgetError: a budget out of reach; it names the least that works.
        TimingsError: ``--latency`` without kernel timings of this machine.
    """
    layers, config = planned_layers(run.network), run.config
    if config.plan is not None:
        return Planned(read_plan(Path(config.plan), layers))
    check_possible(run.network, layers, config)
    budget = config.budget
    if budget is None:
        return Planned(default_plan(run.network, layers, config))
    if budget.kind == "max_drop":
        return _by_accuracy(run, budget)
    if config.trials and not at_eight_bits(budget):
        return _by_trial(run, budget, machine)
    if budget.kind == "latency":
        return latency_plans(run, budget, machine).least_harm()
    prices = price(run, at_eight_bits(budget))
    if config.by_default and least_bits(prices) > budget.value:
        return _nearest(run, prices, budget)
    return plan_priced(run, prices, budget)


def _nearest(run: Run, prices: Prices, default: Budget) -> Planned:
    """The plan of the fewest bits, where nobody asked for the ``default`` that is out of reach."""
    budget = replace(default, value=min(least_bits(prices), MOST_BITS))
    if at_eight_bits(budget):
        prices = price(run, True)
    planned = plan_priced(run, prices, budget)
    said = f"the default of {default.value:g} bits is out of reach"
    return replace(planned, facts=[*planned.facts, said])


def plan_priced(run: Run, prices: Prices, budget: Budget) -> Planned:
    """The plan of least harm for a budget of bits or of bytes, when all candidates have their
    prices: they serve any number of budgets."""
    if budget.kind == "size":
        return plan_size(run, prices, budget)
    return plan_bits(prices, budget)


def _by_accuracy(run: Run, budget: Budget) -> Planned:
    part, judge = _parts(run, by_accuracy.HELD)
    return by_accuracy.plan_drop(price(part), trials.Trials(part, judge).run, budget)


def _by_trial(run: Run, budget: Budget, machine: Machine) -> Planned:
    """The best by trial of several plans for ``budget``."""
    part, judge = _parts(run, trials.HELD)
    others: trials.Others
    if budget.kind == "latency":
        others = latency_plans(part, budget, machine)
        prices, planned = others.prices, others.least_harm()
    else:
        prices = price(part)
        planned = plan_priced(part, prices, budget)
        others = trials.WithinBytes(planned, prices)
    outputs, count = output_layers(run.network), run.config.trials
    trial = trials.Trials(part, judge).run
    return trials.best_by_trial(planned, others, prices, outputs, count, trial)


def _parts(run: Run, share: float) -> tuple[Run, Judge]:
    """``run`` without ``share`` of its samples, and the judge of files on that share."""
    fit, held = hold_back(run.samples, share, run.config.seed)
    return replace(run, samples=fit), Judge(run.network, held, run.device)
