"""Predicted times of layers, put right by whole networks.

A kernel does not take as long in a network as alone: its input has just been written, and its codes
have long been out of the cache. So for every format of weights one blank file is measured, in which
all layers that can have the format have it. The format's predictions are scaled by one factor to
add up to the file's time.

We time every file beside a file of 8 bits in all layers, and use only the ratio of the two times:
it stays the same when the machine gets slower. (Ours.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from subbyte.compression.latency.blank import blank_model
from subbyte.compression.latency.machine import THIS_MACHINE, Machine
from subbyte.compression.latency.model import LatencyModel
from subbyte.compression.planning.knapsack import Choices
from subbyte.compression.planning.plan_file import Plan
from subbyte.compression.planning.search_space import Prices
from subbyte.compression.run import Run
from subbyte.methods import EIGHT_BITS

# Beyond these a prediction is not off, but what was measured.
LEAST_RATIO, MOST_RATIO = 0.5, 2.0


def fitted_model(
    run: Run, model: LatencyModel, prices: Prices, machine: Machine = THIS_MACHINE
) -> LatencyModel:
    """``model`` with a ratio for every format in ``prices``, and the time beside the layers.

    The ratio is the format's time in the network over the predicted time. Int8 layers are taken to
    be predicted well: their difference counts as the network's own time.
    """
    choices = prices.precise()
    files = BlankFiles(run, choices, model, machine)
    plans = _by_form(choices, model)
    machine.rest()
    relative = {}
    for number, (name, coded) in enumerate(plans.items()):
        run.progress("time", number, len(plans), name)
        relative[name] = files.relative(files.eight | coded)
    run.progress("time", len(plans), len(plans), "")
    whole = files.seconds_of_eight()
    ratios = {}
    for name, coded in plans.items():
        others = whole - _predicted(model, dict.fromkeys(coded, EIGHT_BITS))
        predicted = _predicted(model, coded)
        if predicted > 0:
            taken = relative[name] * whole - others
            ratios[name] = min(max(taken / predicted, LEAST_RATIO), MOST_RATIO)
    return replace(model, ratios=ratios, beside=whole - _predicted(model, files.eight))


class BlankFiles:
    """Measures blank files of plans for ``weights``, beside ``eight``: 8 bits for all."""

    def __init__(
        self, run: Run, weights: Iterable[str], model: LatencyModel, machine: Machine
    ) -> None:
        self.eight: Plan = dict.fromkeys(weights, EIGHT_BITS)
        self._run, self._model, self._machine = run, model, machine
        self._least = math.inf

    def relative(self, plan: Plan) -> float:
        """The time of the file of ``plan`` over the time of the file of ``eight``."""
        if plan == self.eight:
            return 1.0
        eight, taken = self._measured(self.eight, plan)
        self._least = min(self._least, eight)
        return taken / eight

    def seconds_of_eight(self) -> float:
        """Seconds of the file of ``eight``, the least that was measured."""
        self._least = min(self._least, *self._measured(self.eight))
        return self._least

    def _measured(self, *plans: Plan) -> list[float]:
        models = (
            blank_model(self._run.network, plan, self._run.config, self._model.looked_up(plan))
            for plan in plans
        )
        return self._machine.measure_models(models, self._run.samples)


def seconds_of_eight(model: LatencyModel, weights: Iterable[str]) -> float:
    """Seconds of 8 bits in all layers in a fitted ``model``: as they were measured."""
    return model.beside + _predicted(model, dict.fromkeys(weights, EIGHT_BITS))


def _predicted(model: LatencyModel, plan: Plan) -> float:
    return sum(model.seconds(weight, options) for weight, options in plan.items())


def _by_form(choices: Choices, model: LatencyModel) -> dict[str, Plan]:
    """For every format but int8, by its name, the first options of every layer that give it."""
    plans: dict[str, Plan] = {}
    for weight, found in choices.items():
        for candidate in found:
            forms = {form.name for _, form in model.forms(weight, candidate.options)}
            if len(forms) == 1 and forms != {"int8"}:
                plans.setdefault(forms.pop(), {}).setdefault(weight, candidate.options)
    return plans
