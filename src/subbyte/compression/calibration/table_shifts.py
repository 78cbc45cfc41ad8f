"""Which layers are looked up, and how many bits the entries of their tables lose.

A look-up kernel's tables hold products rounded to int8 (`table_errors`); multiplying with the same
weights is exact. So a layer may be looked up where that is faster (`lookup_work`), with the shift
that moves its own outputs least on the calibration samples.

Deep networks multiply small errors, and long tails of activations ask for large shifts. So the
network is run with all tables as the kernels make them. They may add `ALLOWED` of the squared error
that an output of the file has without them. Where they add more, layers are given up: first those
layers whose tables alone move the outputs most for the time that they save. (Ours; the published
method keeps float tables.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.activation_harm import carried_values, rounded
from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.calibration.lookup_work import (
    LEAST_GAIN,
    LEAST_WORK,
    lookup_gains,
    lookup_share,
    work_of,
)
from subbyte.compression.calibration.rows import choose_places, entries_at, input_rows
from subbyte.compression.calibration.table_errors import (
    TableLayer,
    best_shift,
    input_codes,
    table_error,
    table_layer,
)
from subbyte.compression.divergence import relative_errors, squares_of_each
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import CodedWeight

SAMPLES, ROWS = 64, 256
HARM_SAMPLES, UNSEEN_SAMPLES = 16, 32
# Native may be so much farther from float than portable; the proof warns from there on
# (`proof.record`).
ALLOWED = 0.1
# Errors of single samples differ by about so much of their mean: the mean of few may be too large.
SPREAD = 0.5
# Of an output's variance: where all errors together stay below it, nobody sees them.
NOTHING = 1e-4

Column = NDArray[np.float64]
Batch = Mapping[str, Tensor]
NO_PARAMS: Mapping[str, QuantParams] = {}


@dataclass(frozen=True)
class LookedUp:
    """A layer whose tables have a ``shift``; ``saved``: the work that looking up saves, in
    multiply-adds of the int8 kernel."""

    tables: TableLayer
    shift: int
    saved: float

    def error(self, value: Tensor, output: Tensor) -> Tensor:
        """`table_error`."""
        return table_error(self.tables, self.shift, value, output)


NO_LAYERS: Mapping[str, LookedUp] = {}


@dataclass(frozen=True)
class Limits:
    """``least_work``: multiply-adds of a layer that may be looked up. ``least_gain``: as of
    `lookup_gains`. ``allowed``: what tables may add to an output's squared error, as a share of
    the error that there is without them."""

    least_work: int = LEAST_WORK
    least_gain: float = LEAST_GAIN
    allowed: float = ALLOWED


LIMITS = Limits()


@torch.no_grad()
def table_shifts(
    run: Run,
    module: GraphModule,
    weights: Mapping[str, CodedWeight],
    plan: IslandPlan,
    params: Mapping[str, QuantParams],
    unseen: Samples,
    limits: Limits = LIMITS,
) -> dict[str, int]:
    """The shift, 0 to 8, of every layer that should be looked up, by layer name.

    ``module`` holds the coded weights; ``params`` the quantization of each group of ``plan``.
    ``unseen``: samples that the weights were not made with. They tell how far the file is from the
    float network, and nothing else. Where a latency is to be kept, layers are looked up as
    the plan expects it.
    """
    tables = _tables(run, weights, plan, params)
    found = _fastest(run, module, tables, limits)
    if found and run.config.latency is None:
        few = unseen.take(UNSEEN_SAMPLES, run.config.seed)
        portable = _portable_error(run, module, plan, params, few)
        sure = 1 - SPREAD / math.sqrt(len(few))
        allowed = np.maximum(limits.allowed * sure * portable, NOTHING - portable)
        found = _Choice(run, module, found, allowed).kept()
    return {name: each.shift for name, each in found.items()}


def _tables(
    run: Run,
    weights: Mapping[str, CodedWeight],
    plan: IslandPlan,
    params: Mapping[str, QuantParams],
) -> dict[str, TableLayer]:
    found = {}
    for layer in run.network.layers:
        coded = weights.get(layer.weight)
        if coded is None or plan.layers[layer.name].form == "float":
            continue
        each = table_layer(layer, coded, params[plan.group_of[layer.input]], run.device)
        if each is not None:
            found[layer.name] = each
    return found


def _fastest(
    run: Run, module: GraphModule, tables: Mapping[str, TableLayer], limits: Limits
) -> dict[str, LookedUp]:
    """All layers that are faster looked up, each with its best shift."""
    saved: dict[str, float | None] = {}
    rows: dict[str, list[Tensor]] = {}
    few, rng = (
        run.samples.take(SAMPLES, run.config.seed),
        torch.Generator().manual_seed(run.config.seed),
    )
    for number, batch in enumerate(few.batches(chunk_size(module, few, run.device))):
        wanted = -(-ROWS * batch.count // len(few))
        for _, step, before, after in module.walk(on_device(batch, run.device)):
            each = tables.get(step.name)
            if each is None:
                continue
            value, output = before[each.layer.input], after[each.layer.output]
            if number == 0:
                saved[step.name] = _saved(each, value, output, limits)
            if saved[step.name] is not None:
                found = _rows(each, value, output, wanted, rng)
                rows.setdefault(step.name, []).append(found)
    return {
        name: LookedUp(tables[name], best_shift(tables[name], torch.cat(parts)), work)
        for name, parts in rows.items()
        if (work := saved[name]) is not None
    }


def _saved(tables: TableLayer, value: Tensor, output: Tensor, limits: Limits) -> float | None:
    """The work that looking up saves for one sample; None where the layer is multiplied."""
    work = work_of(tables.layer, value, output)
    sizes = (tables.words.shape[2], tables.length, tables.gains is not None)
    shape = tables.layer.shape
    if work.products < limits.least_work or not lookup_gains(
        shape, *sizes, work, limits.least_gain
    ):
        return None
    return work.products * (1 - lookup_share(shape, *sizes, work))


def _rows(
    tables: TableLayer, value: Tensor, output: Tensor, wanted: int, rng: torch.Generator
) -> Tensor:
    """About ``wanted`` rows of input codes [R, groups, T * I], evenly drawn."""
    layer = tables.layer
    chosen, places = choose_places(layer, value, output, wanted, rng)
    codes = input_codes(tables, entries_at(layer, value, chosen))
    rows = input_rows(layer, codes, places.to(value.device), tuple(output.shape[2:]))
    return rows.flatten(0, 1)


def _portable_error(
    run: Run,
    module: GraphModule,
    plan: IslandPlan,
    params: Mapping[str, QuantParams],
    samples: Samples,
) -> Column:
    """Squared error over variance of every output, of the coded network without tables."""
    exact = GraphModule(run.network).to(run.device).eval()
    each = {name: params[group] for name, group in carried_values(module, plan).items()}
    sums = []
    for batch in _batches(run, module, samples):
        got = _outputs(module, batch, rounding=each)
        sums.append(squares_of_each(_outputs(exact, batch), got))
    return relative_errors(np.sum(sums, axis=0))


def _batches(run: Run, module: GraphModule, samples: Samples) -> list[Batch]:
    chunk = chunk_size(module, samples, run.device)
    return [on_device(batch, run.device) for batch in samples.batches(chunk)]


class _Choice:
    """Gives layers up until the tables of the others add no more than ``allowed`` to the squared
    error over variance of any output."""

    def __init__(
        self, run: Run, module: GraphModule, layers: Mapping[str, LookedUp], allowed: Column
    ) -> None:
        self._run, self._module, self._layers = run, module, dict(layers)
        self._allowed = allowed
        self._batches = _batches(run, module, run.samples.take(HARM_SAMPLES, run.config.seed))
        self._exact = [_outputs(module, batch) for batch in self._batches]

    def kept(self) -> dict[str, LookedUp]:
        """The layers that stay looked up."""
        kept = dict(self._layers)
        measured = self._together(kept)
        if measured <= 1:
            return kept
        alone = self._alone()
        cost = {name: harm.max() / max(kept[name].saved, 1.0) for name, harm in alone.items()}
        worst = sorted(kept, key=cost.__getitem__)
        while kept and measured > 1:
            # Errors of layers do not quite add up: their sum is held to the measured total.
            limit = _most(alone, kept) / measured
            del kept[worst.pop()]
            while kept and _most(alone, kept) > limit:
                del kept[worst.pop()]
            measured = self._together(kept)
        return kept

    def _together(self, kept: Mapping[str, LookedUp]) -> float:
        """The most of what is allowed that an output moves with the tables of ``kept``."""
        found = [_outputs(self._module, batch, kept) for batch in self._batches]
        return float(self._share(found).max(initial=0.0))

    def _alone(self) -> dict[str, Column]:
        """For every layer the shares of what is allowed that outputs move by its tables alone."""
        sums: dict[str, list[Column]] = {name: [] for name in self._layers}
        for number, (batch, exact) in enumerate(zip(self._batches, self._exact, strict=True)):
            self._run.progress("tables", number, len(self._batches), "")
            for place, step, before, after in self._module.walk(batch):
                each = self._layers.get(step.name)
                if each is None:
                    continue
                changed, layer = dict(after), each.tables.layer
                output = after[layer.output]
                changed[layer.output] = output + each.error(before[layer.input], output)
                self._module.run(changed, place + 1, len(self._module.steps))
                got = [_value(self._module, changed, name) for name in self._module.output_names]
                sums[step.name].append(squares_of_each(exact, got))
        self._run.progress("tables", len(self._batches), len(self._batches), "")
        return {
            name: relative_errors(np.sum(parts, axis=0)) / self._allowed
            for name, parts in sums.items()
        }

    def _share(self, found: Sequence[Sequence[Tensor]]) -> Column:
        pairs = zip(self._exact, found, strict=True)
        sums = np.sum([squares_of_each(exact, got) for exact, got in pairs], axis=0)
        return relative_errors(sums) / self._allowed


def _most(harms: Mapping[str, Column], names: Iterable[str]) -> float:
    return float(np.sum([harms[name] for name in names], axis=0).max(initial=0.0))


def _outputs(
    module: GraphModule,
    batch: Batch,
    layers: Mapping[str, LookedUp] = NO_LAYERS,
    rounding: Mapping[str, QuantParams] = NO_PARAMS,
) -> list[Tensor]:
    """The outputs for ``batch`` with the tables of ``layers``, and the values in ``rounding``
    rounded as they are made."""
    values = {n: rounded(x, rounding[n]) if n in rounding else x for n, x in batch.items()}
    for place, step in enumerate(module.steps):
        each = layers.get(step.name)
        value = None if each is None else values[each.tables.layer.input]
        module.run(values, place, place + 1)
        for name in step.outputs:
            if name in values and each is not None and value is not None:
                values[name] = values[name] + each.error(value, values[name])
            if name in values and name in rounding:
                values[name] = rounded(values[name], rounding[name])
    return [_value(module, values, name) for name in module.output_names]


def _value(module: GraphModule, values: Mapping[str, Tensor], name: str) -> Tensor:
    return values[name] if name in values else module.constant(name)
