"""Eight-bit ranges of activations, from the values of the compressed network itself.

Two passes over a part of the samples: extremes first, then a histogram between them. The range is
the one with the least expected squared error of quantizing to uint8 (rounding inside it, clipping
outside), searched over shares of both extremes; it never clips more than 1 value in 10,000.

Then every layer is run on inputs rounded to their ranges. Where that alone moves its output by more
than `HOPELESS` of the output's variance, the input is not fit for 8 bits and stays float. (The
input's own variance would not tell: one large channel hides the errors of all the others.) Last,
`activation_harm` looks at the outputs of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.activation_harm import harmful, rounded
from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.culprit import check_finite
from subbyte.compression.calibration.rows import output_rows
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.islands.shared_scales import CarriedValue, Group
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.graph.quant_params import QuantParams
from subbyte.progress import Progress

RANGE_SAMPLES = 512
BINS = 4096
SHARES = np.linspace(0.3, 1.0, 71)
CLIPPED = 1e-4
HOPELESS = 0.01
LOSS_SAMPLES = 64

Column = NDArray[np.float64]


@dataclass
class Histogram:
    """Counts in even bins over [low, high], which holds zero."""

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[:-1] + edges[1:]) / 2


@dataclass(frozen=True)
class Range:
    """The values [low, high] that are carried; values beyond are clipped."""

    low: float
    high: float


def quantize_activations(
    run: Run, module: GraphModule
) -> tuple[IslandPlan, dict[str, QuantParams]]:
    """The islands of the compressed network ``module`` and the parameters of their values."""
    plan = plan_islands(run.network)
    params = _params(plan, _ranges(run, module, plan))
    lost = input_losses(run, module, plan, params)
    hopeless = {
        name: f"range not fit for 8 bits: {100 * loss:.1f}% of {layer}'s output lost"
        for name, (loss, layer) in lost.items()
        if loss > HOPELESS
    }
    if hopeless:
        plan, params = _without(run, module, hopeless)
    if harm := harmful(run, module, plan, params):
        plan, params = _without(run, module, hopeless | harm)
    return plan, params


def _without(
    run: Run, module: GraphModule, kept: Mapping[str, str]
) -> tuple[IslandPlan, dict[str, QuantParams]]:
    """Plan and parameters where the values in ``kept`` stay float, each for its reason."""
    plan = plan_islands(run.network, keep_float=kept)
    return plan, _params(plan, _ranges(run, module, plan))


def _ranges(run: Run, module: GraphModule, plan: IslandPlan) -> dict[str, Range]:
    return measure(module, plan.groups, run.samples, run.device, run.progress)


def _params(plan: IslandPlan, ranges: Mapping[str, Range]) -> dict[str, QuantParams]:
    return {
        group.name: group.params(ranges[group.name].low, ranges[group.name].high)
        for group in plan.groups
    }


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


@torch.no_grad()
def measure(
    module: GraphModule,
    groups: Sequence[Group],
    samples: Samples,
    device: torch.device,
    progress: Progress,
) -> dict[str, Range]:
    """The best range of every group over up to `RANGE_SAMPLES` samples."""
    few = samples.first(RANGE_SAMPLES)
    chunk = chunk_size(module, few, device)
    passes = 2 * -(-len(few) // chunk)
    members = {value.name: (group.name, value) for group in groups for value in group.values}
    extremes = {group.name: (0.0, 0.0) for group in groups}
    counts = {group.name: torch.zeros(BINS, dtype=torch.float64) for group in groups}
    done = 0
    for first_pass in (True, False):
        for batch in few.batches(chunk):
            progress("ranges", done, passes, "")
            done += 1
            for group, value in _values(module, members, batch, device):
                low, high = extremes[group]
                if first_pass:
                    ends = torch.stack([value.min(), value.max()])
                    check_finite(ends, f"value of {group!r}")
                    extremes[group] = min(low, float(ends[0])), max(high, float(ends[1]))
                elif high > low:
                    counts[group] += torch.histc(value.float().cpu(), BINS, low, high).double()
    progress("ranges", passes, passes, "")
    return {
        group.name: best_range(Histogram(*extremes[group.name], counts[group.name].numpy()))
        for group in groups
    }


def _values(
    module: GraphModule,
    members: Mapping[str, tuple[str, CarriedValue]],
    batch: Mapping[str, NDArray[Any]],
    device: torch.device,
) -> Iterator[tuple[str, Tensor]]:
    """(group, value clamped to its own limit) as the network computes them."""
    for name, value in module.computed(on_device(batch, device), members):
        group, carried = members[name]
        yield group, value.clamp(carried.limit.low, carried.limit.high)


def best_range(histogram: Histogram) -> Range:
    """The range of least expected squared error; where values are signed, its two ends are
    searched apart, as they seldom lie equally far out."""
    total = histogram.counts.sum()
    if total == 0 or histogram.low == histogram.high:
        return Range(histogram.low, histogram.high)
    lows, under, below = _ends(histogram, histogram.low)
    highs, over, above = _ends(histogram, histogram.high)
    steps = (highs[None] - lows[:, None]) / 255
    clipped = below[:, None] + above[None]
    cost = under[:, None] + over[None] + steps**2 / 12 * (total - clipped)
    cost[clipped > CLIPPED * total] = np.inf
    low, high = np.unravel_index(cost.argmin(), cost.shape)
    return Range(float(lows[low]), float(highs[high]))


def _ends(histogram: Histogram, extreme: float) -> tuple[Column, Column, Column]:
    """Shares of one extreme; for each the squared error of the values beyond, and their number."""
    ends = extreme * SHARES if extreme else np.zeros(1)
    beyond = np.clip((histogram.centres[None] - ends[:, None]) * np.sign(extreme), 0, None)
    return ends, beyond**2 @ histogram.counts, (beyond > 0) @ histogram.counts
