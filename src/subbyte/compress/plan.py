"""Which way each layer is coded, chosen under a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from subbyte.budgets import Budget
from subbyte.compress.blank import overhead
from subbyte.compress.candidates import Candidate
from subbyte.compress.defaults import (
    check_plan_words,
    check_some_words,
    check_trained,
    default_plan,
)
from subbyte.compress.knapsack import Choice, Choices, choose, choose_finely, least
from subbyte.compress.latency import LatencyModel, latency_model
from subbyte.compress.latency_fit import BlankFiles, fitted_model, seconds_of_eight
from subbyte.compress.options import CompressOptions
from subbyte.compress.plan_file import EIGHT_BITS, Plan, planned_layers, read_plan
from subbyte.compress.prices import Prices, price
from subbyte.compress.sequence import Progress
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError
from subbyte.graph.network import Network
from subbyte.runtime.timings import load_timings

_SIZE_ROUNDS = 8
# Plans tried for a latency, and how much of it may be left.
_LATENCY_ROUNDS = 10
_LATENCY_SLACK = 0.005
# Of a file beside its weights: what varies with the values that are written.
_SIZE_SLACK = 0.02


@dataclass(frozen=True)
class Planned:
    """``plan``: the options of every layer, by weight name. With a budget, ``choice`` has the
    predicted bytes, harm and time of each, and ``facts`` what is worth saying."""

    plan: Plan
    budget: Budget | None = None
    choice: Choice | None = None
    facts: Sequence[str] = field(default=())


def make_plan(
    network: Network,
    samples: Samples,
    options: CompressOptions,
    device: torch.device,
    progress: Progress,
) -> Planned:
    """The options of every layer: from the plan file, the budget, or the defaults.

    Every layer's error counts relative to its output and by what the next layers see of it:
    it is partly made good by the layers after it, and weighting layers by what they do alone
    to the network's output did worse (docs/decisions).

    Raises:
        BudgetError: a budget out of reach; it names the least that works.
        TimingsError: ``--latency`` without kernel timings of this machine.
    """
    layers = planned_layers(network)
    if options.plan is not None:
        given = read_plan(options.plan, layers)
        check_plan_words(given, layers)
        return Planned(given)
    check_trained(layers, options)
    if options.words is not None:
        check_some_words(layers, options.words)
    budget = options.budget
    if budget is None:
        if options.methods is not None:
            raise OptionError(
                "--methods is for a budget", expected="--bits, --size, --latency or --keep"
            )
        return Planned(default_plan(network, layers, options))
    if budget.kind == "latency":
        timings = load_timings(options.timings)
        model = latency_model(network, samples, device, timings)
        prices = price(network, samples, options, device, progress)
        model = fitted_model(network, model, prices, samples, options, progress)
        return plan_latency(network, prices.timed(model), model, samples, options, budget)
    return plan_budget(network, price(network, samples, options, device, progress), options, budget)


def plan_budget(
    network: Network, prices: Prices, options: CompressOptions, budget: Budget
) -> Planned:
    """`plan_size` or `plan_bits`."""
    if budget.kind == "size":
        return plan_size(network, prices, options, budget)
    return plan_bits(prices, budget)


def plan_bits(prices: Prices, budget: Budget) -> Planned:
    """The least total relative error within so many bits per weight."""
    limit = budget.value * prices.count / 8
    needed = least(prices.choices)
    if needed > limit:
        # Rounded up, so that the number it names is one that works.
        bits = -(-8 * int(needed) * 1000 // prices.count) / 1000
        raise BudgetError(
            "--bits out of reach for this network and these options",
            expected=f"at least {bits:.3f} bits per weight",
            got=budget.value,
        )
    return planned_from(budget, choose_finely(prices.within(limit), limit))


def plan_size(
    network: Network, prices: Prices, options: CompressOptions, budget: Budget
) -> Planned:
    """The least total relative error in a file of so many bytes.

    What the file holds beside the weights depends on the methods that are used: it is
    measured on a blank file of the plan, and the plan made again until both fit.
    """
    smallest = {w: min(c, key=lambda c: c.bytes).options for w, c in prices.choices.items()}
    beside = _beside(network, smallest, options)
    needed = beside + least(prices.choices)
    for _ in range(_SIZE_ROUNDS):
        limit = budget.value - beside
        if least(prices.choices) > limit:
            raise BudgetError(
                "--size out of reach for this network and these options",
                expected=f"at least {needed:.0f} bytes",
                got=f"{budget.value:.0f}",
            )
        choice = choose_finely(prices.within(limit), limit)
        now = _beside(network, _options(choice), options)
        if now <= beside:
            break
        beside = now
    said = f"{beside:.0f} bytes of the file are not weights"
    return planned_from(budget, choice, [said])


def _beside(network: Network, plan: Plan, options: CompressOptions) -> float:
    return (1 + _SIZE_SLACK) * overhead(network, plan, options)


def plan_latency(
    network: Network,
    prices: Prices,
    model: LatencyModel,
    samples: Samples,
    options: CompressOptions,
    budget: Budget,
) -> Planned:
    """The least total relative error within so many milliseconds a sample.

    The layers' times, and what the network takes beside them, are those of ``model``, which is
    fitted. Then blank files of plans are measured, beside one of 8 bits, and the layers get less
    or more until one takes just the budget on a machine as fast as when ``model`` was fitted.

    Raises:
        BudgetError: the fastest plan takes longer.
    """
    choices = {weight: _faster(found) for weight, found in prices.precise().items()}
    files = BlankFiles(network, choices, model, samples, options)
    eight, beside = seconds_of_eight(model, choices), model.beside

    def measured(plan: Plan) -> float:
        return files.relative(plan) * eight

    choice, taken = _fitted(choices, budget.value / 1e3, beside, measured)
    predicted = beside + sum(c.seconds or 0.0 for c in choice.chosen.values())
    said = [
        f"{model.timings.cpu}, {model.timings.isa}, one thread: {taken * 1e3:.3f} ms a sample "
        f"measured, {predicted * 1e3:.3f} ms predicted, of which {beside * 1e3:.3f} ms are not "
        "layers"
    ]
    return planned_from(budget, choice, said)


def _faster(found: Sequence[Candidate]) -> list[Candidate]:
    """8 bits, where it is a candidate, and what takes less time: under a limit of time alone
    nothing is gained by fewer bits in a layer that is not looked up."""
    eight = next((_time(c) for c in found if c.options == EIGHT_BITS), None)
    return [c for c in found if eight is None or c.options == EIGHT_BITS or _time(c) < eight]


def _fitted(
    choices: Choices, budget: float, beside: float, measured: Callable[[Plan], float]
) -> tuple[Choice, float]:
    """The choice of least harm whose blank file keeps to ``budget`` seconds, and its time.

    That nothing is fast enough is only believed when it is measured.
    """
    fastest = least(choices, _time)
    limit = max(fastest, _microseconds(budget - beside))
    tried: list[tuple[Choice, float]] = []
    for _ in range(_LATENCY_ROUNDS):
        choice = choose_finely(choices, limit, _time)
        taken = next((time for other, time in tried if other.chosen == choice.chosen), None)
        if taken is None:
            taken = measured(_options(choice))
            tried.append((choice, taken))
        if (1 - _LATENCY_SLACK) * budget < taken <= budget:
            break
        limit = max(fastest, limit + _microseconds(budget - taken))
    found = [pair for pair in tried if pair[1] <= budget]
    if not found:
        # What is measured while something else runs may be too long: not what is refused for it.
        choice = choose(choices, fastest, _time)
        taken = measured(_options(choice))
        if taken > budget:
            raise BudgetError(
                "--latency out of reach for this network on this machine",
                expected=f"at least {-(-taken * 1e6 // 1) / 1e3:.3f} ms",
                got=f"{budget * 1e3:g} ms",
            )
        found = [(choice, taken)]
    return min(found, key=lambda pair: pair[0].harm)


def _time(candidate: Candidate) -> float:
    return _microseconds(candidate.seconds or 0.0)


def _microseconds(seconds: float) -> float:
    return seconds * 1e6


def _options(choice: Choice) -> Plan:
    return {weight: found.options for weight, found in choice.chosen.items()}


def planned_from(budget: Budget, choice: Choice, facts: Sequence[str] = ()) -> Planned:
    """The plan of a choice."""
    return Planned(_options(choice), budget, choice, facts)
