"""Which values of the compressed network are carried in eight bits, and over which range.

`value_ranges` measures the ranges, on values of the compressed network itself. Then every layer is
run on inputs rounded to their ranges. Where that alone moves its output by more than `HOPELESS` of
the output's variance, the input is not fit for 8 bits and stays float. (The input's own variance
would not tell: one large channel hides the errors of all the others.) Last, `activation_harm` looks
at the outputs of the network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.activation_harm import ALONE, harmful, rounded
from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.rows import output_rows
from subbyte.compression.calibration.value_ranges import Measured, measure
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.islands.shared_scales import Group
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.graph.quant_params import QuantParams

HOPELESS = 0.01
LOSS_SAMPLES = 64


def quantize_activations(
    run: Run, module: GraphModule
) -> tuple[IslandPlan, dict[str, QuantParams]]:
    """The islands of the compressed network ``module`` and the parameters of their values."""
    ranges = _Ranges(run, module)
    plan = plan_islands(run.network)
    lost = input_losses(run, module, plan, ranges.params(plan))
    hopeless = {
        name: f"range not fit for 8 bits: {100 * loss:.1f}% of {layer}'s output lost"
        for name, (loss, layer) in lost.items()
        if loss > HOPELESS
    }
    if hopeless:
        plan = plan_islands(run.network, keep_float=hopeless)
    kept = hopeless
    for alone in ALONE:
        harm = harmful(run, module, plan, ranges.of(plan), alone)
        if not harm:
            break
        kept = kept | harm
        plan = plan_islands(run.network, keep_float=kept)
    return plan, ranges.params(plan)


class _Ranges:
    """Ranges of the groups of several plans; a group that is the same in two is measured once."""

    def __init__(self, run: Run, module: GraphModule) -> None:
        self._run, self._module = run, module
        self._known: dict[Group, Measured] = {}

    def of(self, plan: IslandPlan) -> dict[str, Measured]:
        """The ranges of every group, by name."""
        fresh = [group for group in plan.groups if group not in self._known]
        if fresh:
            run = self._run
            found = measure(self._module, fresh, run.samples, run.device, run.progress)
            self._known |= {group: found[group.name] for group in fresh}
        return {group.name: self._known[group] for group in plan.groups}

    def params(self, plan: IslandPlan) -> dict[str, QuantParams]:
        """The parameters of every group, by name, over the ranges from all samples."""
        ranges = {name: measured.all for name, measured in self.of(plan).items()}
        return {g.name: g.params(ranges[g.name].low, ranges[g.name].high) for g in plan.groups}


@torch.no_grad()
def input_losses(
    run: Run, module: GraphModule, plan: IslandPlan, params: Mapping[str, QuantParams]
) -> dict[str, tuple[float, str]]:
    """For every quantized value that layers read: the largest share of a reader's output
    variance that rounding the value to uint8 loses, and that layer's name."""
    layers = {
        layer.name: layer
        for layer in run.network.layers
        if layer.name in plan.layers and plan.layers[layer.name].form != "float"
    }
    inputs = {name: params[plan.group_of[layer.input]] for name, layer in layers.items()}
    sums = {name: np.zeros(2) for name in layers}
    few = run.samples.first(LOSS_SAMPLES)
    for batch in few.batches(chunk_size(module, few, run.device)):
        for place, step, before, _ in module.walk(on_device(batch, run.device)):
            if step.name in layers:
                layer = layers[step.name]
                changed = rounded(before[layer.input], inputs[step.name])
                sums[step.name] += _errors(module, place, layer, before, changed)
    losses: dict[str, tuple[float, str]] = {}
    for name, (error, energy) in sums.items():
        found = (error / max(energy, 1e-30), name)
        losses[layers[name].input] = max(losses.get(layers[name].input, found), found)
    return losses


def _errors(
    module: GraphModule,
    number: int,
    layer: Layer,
    environment: Mapping[str, Tensor],
    rounded: Tensor,
) -> NDArray[np.float64]:
    """Squared error of the layer's output from a rounded input, and its energy about the mean.

    A binarized input is judged as if it were not: the sign of a value near zero changes much
    where it is rounded, and means little either way.
    """
    outputs = []
    for value in (environment[layer.input], rounded):
        outputs.append(output_rows(layer, module.plain_output(number, value)).flatten(0, 1))
    exact, changed = outputs
    return np.array(
        [float((changed - exact).square().sum()), float((exact - exact.mean(0)).square().sum())]
    )
