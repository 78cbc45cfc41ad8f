"""Predicted times of layers, put right by whole networks.

A kernel does not take as long in a network as alone: what it reads has just been written, and its
codes have long been out of the cache. So of every form of weights one blank file is measured in
which all layers that can have it do, and the form's predictions are scaled by one factor to add
up to what the file takes. (Ours.)
"""

from __future__ import annotations

from dataclasses import replace

from subbyte.compress.blank import blank_model
from subbyte.compress.knapsack import Choices
from subbyte.compress.latency import LatencyModel, measure_model, rest
from subbyte.compress.options import CompressOptions
from subbyte.compress.plan_file import EIGHT_BITS, Plan
from subbyte.compress.prices import Prices
from subbyte.compress.sequence import Progress
from subbyte.data import Samples
from subbyte.graph.network import Network

# Beyond these a prediction is not off, but what was measured.
LEAST_RATIO, MOST_RATIO = 0.5, 2.0


def fitted_model(
    network: Network,
    model: LatencyModel,
    prices: Prices,
    samples: Samples,
    options: CompressOptions,
    progress: Progress,
) -> LatencyModel:
    """``model`` with what every form in ``prices`` takes in the network to what is predicted, and
    with what the network takes beside its layers.

    Int8 layers are taken to be predicted well: what they are off counts as the network's own.
    """
    choices = prices.precise()
    eight: Plan = dict.fromkeys(choices, EIGHT_BITS)
    plans = _by_form(choices, model)
    rest()
    whole = measure_plan(network, eight, model, samples, options)
    ratios = {}
    for number, (name, coded) in enumerate(plans.items()):
        progress("time", number, len(plans), name)
        others = whole - _predicted(model, dict.fromkeys(coded, EIGHT_BITS))
        predicted = _predicted(model, coded)
        if predicted > 0:
            taken = measure_plan(network, eight | coded, model, samples, options) - others
            ratios[name] = min(max(taken / predicted, LEAST_RATIO), MOST_RATIO)
    progress("time", len(plans), len(plans), "")
    return replace(model, ratios=ratios, beside=whole - _predicted(model, eight))


def measure_plan(
    network: Network, plan: Plan, model: LatencyModel, samples: Samples, options: CompressOptions
) -> float:
    """Seconds of one sample through a blank file of ``plan``."""
    return measure_model(blank_model(network, plan, options, model.looked_up(plan)), samples)


def _predicted(model: LatencyModel, plan: Plan) -> float:
    return sum(model.seconds(weight, options) for weight, options in plan.items())


def _by_form(choices: Choices, model: LatencyModel) -> dict[str, Plan]:
    """For every form but int8, by its name, the first options of every layer that give it."""
    plans: dict[str, Plan] = {}
    for weight, found in choices.items():
        for candidate in found:
            forms = {form.name for _, form in model.forms(weight, candidate.options)}
            if len(forms) == 1 and forms != {"int8"}:
                plans.setdefault(forms.pop(), {}).setdefault(weight, candidate.options)
    return plans
