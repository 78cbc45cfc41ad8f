"""The inputs of a layer as rows: the x of a linear map y = W x."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from subbyte.graph.network import Layer


def output_rows(layer: Layer, output: Tensor) -> Tensor:
    """A layer's output as [N, positions, O], positions in row-major order."""
    if layer.op == "Linear":
        return _linear_rows(layer, output)
    return output.flatten(2).transpose(1, 2)


def from_rows(layer: Layer, rows: Tensor, output: Tensor) -> Tensor:
    """Rows [N, positions, O] in the shape of the layer's ``output``: back from `output_rows`."""
    if layer.op != "Linear":
        return rows.transpose(1, 2).reshape(output.shape)
    axis = int(layer.node.attributes["axis"].as_int())
    moved = output.movedim(axis, -1)
    return rows.reshape(moved.shape).movedim(-1, axis)


def input_rows(layer: Layer, value: Tensor, positions: Tensor, size: tuple[int, ...]) -> Tensor:
    """Inputs at chosen output ``positions`` [N, S]: rows [N, S, groups, T * I].

    ``size``: the output's spatial size. For a ConvTranspose the rows are input pixels
    [N, S, groups, I] and positions count input pixels: every tap sees the same pixel.
    """
    if layer.op == "Linear":
        return _gather(_linear_rows(layer, value), positions)[:, :, None]
    if layer.op == "ConvTranspose":
        rows = _gather(value.flatten(2).transpose(1, 2), positions)
        return rows.unflatten(2, (layer.shape.groups, layer.shape.inputs))
    return _conv_rows(layer, value, positions, size)


def _linear_rows(layer: Layer, value: Tensor) -> Tensor:
    """An input or output as [N, positions, channels]; a lone vector is one position of one."""
    moved = value.movedim(int(layer.node.attributes["axis"].as_int()), -1)
    entries = 1 if moved.ndim == 1 else len(moved)
    return moved.reshape(entries, math.prod(moved.shape[1:-1]), moved.shape[-1])


def entry_axis(layer: Layer, value: Tensor) -> int | None:
    """The axis of an input or output that `input_rows` takes for the samples; None: there is none.

    It is the first one that holds no channels. Samples need not lie there: a network may
    have moved them to another axis, or merged them with one.
    """
    if layer.op != "Linear":
        return 0
    if value.ndim == 1:
        return None
    left = int(layer.node.attributes["axis"].as_int()) == -2
    return 1 if left and value.ndim == 2 else 0


def choose_places(
    layer: Layer, value: Tensor, output: Tensor, wanted: int, rng: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    """Where to look at ``wanted`` rows in all: (entries or None for all of them, positions [N, S]).

    All rows where there are no more than that.
    """
    axis = entry_axis(layer, value)
    entries, count = 1 if axis is None else value.shape[axis], position_count(layer, value, output)
    if entries * count <= wanted:
        return None, torch.arange(count).expand(entries, count)
    if entries > wanted:
        chosen = torch.randperm(entries, generator=rng)[:wanted]
        return chosen, torch.randint(0, count, (wanted, 1), generator=rng)
    each = -(-wanted // entries)
    return None, torch.randint(0, count, (entries, each), generator=rng)


def entries_at(layer: Layer, value: Tensor, chosen: Tensor | None) -> Tensor:
    """An input or output with the ``chosen`` entries only."""
    axis = entry_axis(layer, value)
    if chosen is None or axis is None:
        return value
    return value.index_select(axis, chosen.to(value.device))


def position_count(layer: Layer, value: Tensor, output: Tensor) -> int:
    """How many positions a sample has for `input_rows`."""
    if layer.op == "Linear":
        return _linear_rows(layer, output).shape[1]
    spatial = value.shape[2:] if layer.op == "ConvTranspose" else output.shape[2:]
    return math.prod(spatial)


def _gather(rows: Tensor, positions: Tensor) -> Tensor:
    index = positions[:, :, None].expand(-1, -1, rows.shape[2])
    return rows.gather(1, index)


def _conv_rows(layer: Layer, value: Tensor, positions: Tensor, size: tuple[int, ...]) -> Tensor:
    rank = len(layer.kernel_shape)
    pads = layer.pads or _same_pads(layer, tuple(value.shape[2:]), size)
    begins, ends = pads[:rank], pads[rank:]
    flat_pads = [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair]
    padded = torch.nn.functional.pad(value, flat_pads)
    spatial = padded.shape[2:]
    strides = [math.prod(spatial[axis + 1 :]) for axis in range(rank)]
    base = torch.zeros_like(positions)
    remaining = positions
    for axis in reversed(range(rank)):
        base = base + remaining % size[axis] * layer.strides[axis] * strides[axis]
        remaining = remaining // size[axis]
    taps = [
        sum(k * layer.dilations[a] * strides[a] for a, k in enumerate(tap))
        for tap in itertools.product(*(range(k) for k in layer.kernel_shape))
    ]
    offsets = torch.tensor(taps, device=positions.device)
    index = (base[:, :, None] + offsets).flatten(1)
    pixels = padded.flatten(2).transpose(1, 2)
    rows = _gather(pixels, index).unflatten(1, (positions.shape[1], len(taps)))
    groups, inputs = layer.shape.groups, layer.shape.inputs
    return rows.unflatten(3, (groups, inputs)).transpose(2, 3).flatten(3)


def _same_pads(layer: Layer, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    """ONNX's SAME_UPPER / SAME_LOWER padding for this input and output size."""
    windows = zip(before, after, layer.strides, layer.dilations, layer.kernel_shape, strict=True)
    totals = [
        max((out - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        for size, out, stride, dilation, kernel in windows
    ]
    lower = layer.node.attributes["auto_pad"].as_string() == "SAME_LOWER"
    begins = [total - total // 2 if lower else total // 2 for total in totals]
    ends = [total - begin for total, begin in zip(totals, begins, strict=True)]
    return (*begins, *ends)
