"""The search space: all candidates of every layer, priced once, for any number of budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from subbyte.compression.calibration.moments import damping_of
from subbyte.compression.calibration.statistics import LayerStatistics, collect
from subbyte.compression.calibration.unpacked import read_rows, weighed
from subbyte.compression.device import few_threads
from subbyte.compression.latency.model import LatencyModel
from subbyte.compression.planning.candidates import (
    Candidate,
    balanced,
    eight_bit_candidates,
    layer_candidates,
)
from subbyte.compression.planning.defaults import kept_at_eight_bits
from subbyte.compression.planning.knapsack import least, stored
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.compression.planning.sensitivity import sensitivities_of
from subbyte.compression.run import Run
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, UncodedConstant, Unpacked, Weighted
from subbyte.graph.weight_layout import canonical, output_layers
from subbyte.methods import EIGHT_BITS, MethodOptions

SENSITIVITY_POWER = 0.25


@dataclass(frozen=True)
class Prices:
    """The candidates of a network.

    ``choices``: the candidates of every layer, by weight name. ``kept``: the layers that are kept
    at 8 bits by default. ``sensitivities``: of the layers (`sensitivities_of`), by which, to the
    power `SENSITIVITY_POWER`, the harms count. ``uncoded``: the constants that are not coded.
    """

    layers: tuple[Weighted, ...]
    choices: dict[str, list[Candidate]]
    kept: frozenset[str]
    sensitivities: Mapping[str, float] = field(default_factory=dict)
    uncoded: tuple[UncodedConstant, ...] = ()

    @property
    def count(self) -> int:
        """Weights in all layers, and numbers in the constants that are not coded."""
        coded = sum(layer.shape.count for layer in self.layers)
        return coded + sum(constant.count for constant in self.uncoded)

    @property
    def uncoded_bytes(self) -> int:
        """Bytes of the constants that are not coded, the same for every plan."""
        return sum(constant.nbytes for constant in self.uncoded)

    def bits(self, coded_bytes: float) -> float:
        """Bits per weight with so many bytes of coded weights."""
        return 8 * (coded_bytes + self.uncoded_bytes) / self.count

    def within(self, budget: float) -> dict[str, list[Candidate]]:
        """The candidates for a budget of bytes: layers that are kept at 8 bits by default go
        below only where the budget is out of reach otherwise."""
        precise = self.precise()
        return precise if least(precise, stored) <= budget else self.choices

    def precise(self) -> dict[str, list[Candidate]]:
        """The candidates with the layers that are kept at 8 bits by default at 8 bits."""
        kept = {
            weight: [c for c in self.choices[weight] if c.options == EIGHT_BITS]
            for weight in self.kept
        }
        return self.choices | kept

    def timed(self, model: LatencyModel) -> Prices:
        """The same with predicted times."""
        choices = {
            weight: [replace(c, seconds=model.seconds(weight, c.options)) for c in found]
            for weight, found in self.choices.items()
        }
        return replace(self, choices=choices)

    def candidate(self, weight: str, options: MethodOptions) -> Candidate:
        """The candidate that codes a layer so."""
        return next(c for c in self.choices[weight] if c.options == options)


def price(
    run: Run, eight_bits_alone: bool = False, sensitivities: Mapping[str, float] | None = None
) -> Prices:
    """All candidates of all layers, or 8 bits alone, from one float pass over a few samples.

    A layer's harm counts by its sensitivity (`sensitivities_of`) to the power `SENSITIVITY_POWER`.
    The power 0 would count all layers alike, as if later layers made good all that is passed on;
    the power 1 would count all that is passed on (docs/decisions/0018). The harm of an unpacked
    weight is its own relative error. ``sensitivities``: by weight name, by default as measured.
    """
    network, samples, options, device = run.network, run.samples, run.config, run.device
    entries = planned_layers(network)
    layers = [entry for entry in entries if isinstance(entry, Layer)]
    module = GraphModule(network).to(device).eval()
    statistics = collect(module, layers, samples, device)
    if sensitivities is None:
        sensitivities = sensitivities_of(module, network.layers, statistics, samples, device)
    tables = read_rows(module, network.unpacked, samples, device)
    outputs = output_layers(network)
    choices = {}

    def candidates(layer: Weighted, weight: Tensor, data: LayerStatistics) -> list[Candidate]:
        with few_threads(0):
            if eight_bits_alone and layer.binarization is None:
                return eight_bit_candidates(layer, weight, data)
            return layer_candidates(layer, weight, data, options, options.seed)

    for number, layer in enumerate(entries):
        run.progress("plan", number, len(entries), layer.name)
        weight = canonical(layer, module.constant(layer.weight).detach())
        if isinstance(layer, Unpacked):
            weight, data = weighed(layer, weight, tables.get(layer.weight))
            choices[layer.weight] = candidates(layer, weight, data)
            continue
        data = statistics[layer.weight].damped(damping_of(layer, len(samples)))
        if layer.weight in outputs:
            weight, data = balanced(weight, data)
        found = candidates(layer, weight, data)
        counted = sensitivities[layer.weight] ** SENSITIVITY_POWER
        choices[layer.weight] = [replace(c, harm=counted * c.harm) for c in found]
    run.progress("plan", len(entries), len(entries), "")
    kept = kept_at_eight_bits(network, entries, options)
    return Prices(tuple(entries), choices, kept, sensitivities, network.uncoded)
