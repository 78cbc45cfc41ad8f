"""The rows by which a layer is fitted: drawn alike from the float and the compressed network."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from subbyte.compression.calibration.activation_store import Environment
from subbyte.compression.calibration.rows import (
    choose_places,
    entries_at,
    entry_axis,
    input_rows,
    output_rows,
    position_count,
)
from subbyte.compression.run import Run
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.methods import Binarization
from subbyte.methods.binarization import binarize_fields, scales_of

POSITIONS = 128
LEAST_ROWS = 16384
ROWS_PER_COLUMN = 4
MOST_WORK = 200_000_000_000


class RowSampler:
    """Draws positions of the layers of the float network ``module``, through which ``chunk`` of
    the samples of ``run`` pass at a time."""

    def __init__(self, run: Run, module: GraphModule, chunk: int) -> None:
        self._module, self._samples, self._chunk = module, len(run.samples), chunk
        self._seed, self._device = run.config.seed, run.device

    def rows(
        self,
        layer: Layer,
        ours: Environment,
        coded: Environment,
        place: tuple[int, int],
        corrected: bool,
        binarization: Binarization | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rows of the layer's input and output at the same positions, as `Moments.add` takes them.

        The input is the compressed network's, the output the float network's. The third result is
        the sample of the chunk that each row is of, None where the samples are not known.

        ``ours``, ``coded``: values of both networks for a chunk of samples. ``place``: numbers of
        the layer and of the chunk, by which positions are drawn. ``corrected``: the output also
        makes good the error on the other side of an Add. ``binarization``: of the input.
        """
        target = ours[layer.input if layer.op == "ConvTranspose" else layer.output]
        if layer.op != "ConvTranspose" and corrected:
            target = target + self._residual(layer, ours, coded)
        value, output = coded[layer.input], ours[layer.output]
        chosen, positions = self._places(layer, value, output, place)
        owners = self._owners(layer, value, chosen, positions, place[1])
        value, target = entries_at(layer, value, chosen), entries_at(layer, target, chosen)
        positions = positions.to(self._device)
        size = tuple(output.shape[2:])
        rows = input_rows(layer, value, positions, size)
        rows = _as_read(layer, value, rows, binarization).flatten(0, 1)
        if layer.op == "ConvTranspose":
            targets = input_rows(layer, target, positions, size).flatten(2)
        else:
            index = positions[:, :, None].expand(-1, -1, layer.shape.outputs)
            targets = output_rows(layer, target).gather(1, index)
        return rows, targets.flatten(0, 1), owners

    def _owners(
        self, layer: Layer, value: Tensor, chosen: Tensor | None, positions: Tensor, chunk: int
    ) -> Tensor | None:
        """The sample of each row [R]. Where samples are merged with another axis, as windows or
        tokens are, each has as many entries, one after the other."""
        axis, samples = entry_axis(layer, value), self._in_chunk(chunk)
        if axis is None or value.shape[axis] % samples:
            return None
        entries = torch.arange(value.shape[axis]) if chosen is None else chosen
        owners = entries // (value.shape[axis] // samples)
        return owners.repeat_interleave(positions.shape[1]).to(self._device)

    def _in_chunk(self, chunk: int) -> int:
        return min(self._chunk, self._samples - chunk * self._chunk)

    def _places(
        self, layer: Layer, value: Tensor, output: Tensor, place: tuple[int, int]
    ) -> tuple[Tensor | None, Tensor]:
        """Where to look: some positions of every sample, or as many wherever samples lie."""
        width = layer.shape.inputs * layer.shape.taps
        wanted = positions_per_sample(width, self._samples)
        state = np.random.SeedSequence((self._seed, *place)).generate_state(1)[0]
        rng = torch.Generator().manual_seed(int(state))
        samples = self._in_chunk(place[1])
        axis, count = entry_axis(layer, value), position_count(layer, value, output)
        if axis is None or value.shape[axis] != samples:
            return choose_places(layer, value, output, wanted * samples, rng)
        if wanted < count:
            return None, torch.randint(0, count, (samples, wanted), generator=rng)
        return None, torch.arange(count).expand(samples, count)

    def _residual(self, layer: Layer, ours: Environment, coded: Environment) -> Tensor | float:
        """Float minus compressed value of the other side of the Add that ``layer`` feeds."""
        other = residual_operand(self._module, layer)
        if other is None or other not in ours or other not in coded:
            return 0.0
        if ours[other].shape != ours[layer.output].shape:
            return 0.0
        return ours[other] - coded[other]


def _as_read(
    layer: Layer, value: Tensor, rows: Tensor, binarization: Binarization | None
) -> Tensor:
    """Rows [N, S, groups, T * I] of the layer's input ``value`` as its weight meets them."""
    if binarization is None:
        return rows
    scales = None
    if binarization.scales == "image":
        images = value.reshape(len(value), 1, layer.shape.groups, 1, -1)
        scales = scales_of(images, binarization.order, (-1,))
    fields = rows.unflatten(3, (layer.shape.taps, layer.shape.inputs))
    return binarize_fields(fields, binarization, scales).flatten(3)


def residual_operand(module: GraphModule, layer: Layer) -> str | None:
    """The other input of the Add that alone reads ``layer``'s output, if there is one."""
    readers = [step for step in module.steps if layer.output in step.inputs]
    if len(readers) != 1 or readers[0].op_type != "Add" or layer.output in module.output_names:
        return None
    others = [name for name in readers[0].inputs if name != layer.output]
    return others[0] if len(others) == 1 else None


def positions_per_sample(width: int, samples: int) -> int:
    """Positions to take of each sample for the moments of a layer with ``width`` inputs.

    `POSITIONS`, more where samples are few; less where a wide layer's rows x width^2
    multiplications would pass `MOST_WORK`; but `ROWS_PER_COLUMN` rows a column always.
    """
    least = max(LEAST_ROWS, ROWS_PER_COLUMN * width)
    most = max(least, MOST_WORK // (width * width))
    return min(max(POSITIONS, math.ceil(least / samples)), math.ceil(most / samples))
