"""How many bits a look-up kernel may drop from the entries of its tables.

Such a kernel builds, for every input pixel, a table of the inner products of its channels with the
codebook's words, as int8 entries clamp((product + half) >> shift). A large shift loses low bits, a
small one saturates. The best shift has the least squared error over products as the calibration
samples give them, each word weighed by how often the weight's codes choose it. Errors of saturated
entries count `SATURATION` times. (Ours: the published method keeps float tables.)

The tables themselves are work, and their rounding is an error that multiplying does not have: a
layer is looked up only where `lookup_gains` expects that to be faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.run import Run
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.graph.quant_params import QuantParams
from subbyte.methods import METHODS, CodedWeight, LookupTables, WeightShape
from subbyte.runtime.native.layers import FEWEST_WORDS, STREAMED_WEIGHTS

MOST_SHIFT = 8
# Multiply-adds of a layer on one sample, below which looking up saves less than a microsecond:
# such layers are multiplied, which is exact.
LEAST_WORK = 500_000
# What neighbouring pixels and taps lose by saturation, they lose together; what they lose by
# rounding averages out. (Of 1, 4 and 16, this kept the most decisions of ResNet-20.)
SATURATION = 16.0
SAMPLES = 64
PIXELS = 256  # of one batch
PRODUCTS = 1 << 24  # inner products held at a time

# Work in multiply-adds of the int8 kernel, measured on AVX-512 (Zen 4): one look-up by words,
# without and with a gain; each four channels of a table's entry.
LOOKUP_WORK: Mapping[int, tuple[float, float]] = {
    16: (1.4, 1.4),
    32: (2.0, 2.0),
    64: (2.0, 3.1),
    128: (2.7, 4.2),
    256: (4.6, 6.6),
}
CHANNEL_WORK = 3.9
# A linear layer of one row and STREAMED_WEIGHTS waits for memory: a byte then costs this much.
BYTE_WORK = 4.0
# Look-ups round and multiplying does not: they must be faster by this factor.
LEAST_GAIN = 1.1


@dataclass(frozen=True)
class LookupKernel:
    """``lanes``: the outputs it looks up for at a time; ``entry``: work of a table's entry beside
    its channels; ``code``: bytes of one code in memory."""

    lanes: int
    entry: float
    code: float


FEW_WORDS, MANY_WORDS = LookupKernel(16, 3.0, 0.5), LookupKernel(64, 5.8, 1.0)


@torch.no_grad()
def table_shifts(
    run: Run,
    module: GraphModule,
    weights: Mapping[str, CodedWeight],
    plan: IslandPlan,
    params: Mapping[str, QuantParams],
    least_work: int = LEAST_WORK,
    least_gain: float = LEAST_GAIN,
) -> dict[str, int]:
    """The best shift, 0 to 8, of every layer that should be looked up, by layer name.

    ``module`` holds the coded weights; ``params`` the quantization of each group of ``plan``.
    ``least_work``: multiply-adds of a layer that may be looked up; ``least_gain``: as of
    `lookup_gains`.
    """
    tables = _tables(run, weights, plan)
    errors = {name: torch.zeros(MOST_SHIFT + 1, dtype=torch.float64) for name in tables}
    layers = {layer.name: layer for layer in run.network.layers if layer.name in tables}
    work: dict[str, Work] = {}
    few = run.samples.first(SAMPLES)
    for batch in few.batches(chunk_size(module, few, run.device)):
        for _, step, before, after in module.walk(on_device(batch, run.device)):
            layer = layers.get(step.name)
            if layer is not None:
                codes = _codes(before[layer.input], params[plan.group_of[layer.input]])
                book, counts = tables[layer.name]
                pixels = _pixels(layer, codes, book.shape[2])
                errors[layer.name] += shift_errors(pixels, book, counts)
                work[layer.name] = _work(layer, codes, after[layer.output])
    shifts = {}
    for name, layer in layers.items():
        length = tables[name][0].shape[2]
        gain = "gains" in weights[layer.weight].inputs
        words = len(tables[name][0][0])
        if work[name].products >= least_work and lookup_gains(
            layer.shape, words, length, gain, work[name], least_gain
        ):
            shifts[name] = int(errors[name].argmin())
    return shifts


@dataclass(frozen=True)
class Work:
    """One sample's: ``products`` multiply-adds, ``inputs`` and ``outputs`` pixels (or rows).
    ``linear``: the layer is linear."""

    products: int
    inputs: int
    outputs: int
    linear: bool


def lookup_gains(
    shape: WeightShape,
    words: int,
    length: int,
    gain: bool,
    work: Work,
    least_gain: float = LEAST_GAIN,
) -> bool:
    """Whether looking up is expected to be ``least_gain`` times as fast as the int8 kernel.

    u = taps * outputs of a group * output pixels / input pixels is the number of look-ups that one
    table serves. u * length is compared with the cost of the table and its look-ups.
    """
    kernel = FEW_WORDS if words == FEWEST_WORDS else MANY_WORDS
    outputs = shape.outputs // shape.groups
    lanes = -(-outputs // kernel.lanes) * kernel.lanes
    uses = shape.taps * work.outputs / work.inputs
    entries = words * (kernel.entry + CHANNEL_WORK * -(-length // 4))
    lookup, product = LOOKUP_WORK[words][gain], 1.0
    if work.linear and work.outputs == 1 and shape.count >= STREAMED_WEIGHTS:
        lookup, product = max(lookup, kernel.code * BYTE_WORK), BYTE_WORK
    return uses * outputs * length * product >= least_gain * (uses * lanes * lookup + entries)


def shift_errors(
    pixels: Tensor, words: Tensor, counts: Tensor, at_a_time: int = PRODUCTS
) -> Tensor:
    """Weighed squared error float64 [9] of the entries at each shift.

    ``pixels`` [N, channel groups, d]: input codes less their zero point, ``words``
    [books, K, d], ``counts`` [channel groups, K]; ``at_a_time``: inner products that are held.
    """
    parts = pixels.split(max(1, at_a_time // counts.numel()))
    return torch.stack([_shift_errors(part, words, counts) for part in parts]).sum(0)


def _shift_errors(pixels: Tensor, words: Tensor, counts: Tensor) -> Tensor:
    products = torch.einsum("ngd,gkd->ngk", pixels, words.expand(pixels.shape[1], -1, -1))
    errors = []
    for shift in range(MOST_SHIFT + 1):
        half = (1 << shift) / 2 if shift else 0
        entries = ((products + half) / (1 << shift)).floor()
        lost = (entries * (1 << shift) - products).square()
        lost[(entries < -128) | (entries > 127)] = 0
        beyond = (entries - entries.clamp(-128, 127)) * (1 << shift)
        lost = (lost + SATURATION * beyond.square()).sum(0)
        errors.append((lost * counts).sum(dtype=torch.float64))
    return torch.stack(errors).cpu()


def _tables(
    run: Run, weights: Mapping[str, CodedWeight], plan: IslandPlan
) -> dict[str, tuple[Tensor, Tensor]]:
    found = {}
    for layer in run.network.layers:
        coded = weights.get(layer.weight)
        if coded is None or plan.layers[layer.name].form == "float":
            continue
        tables: LookupTables | None = METHODS[coded.method].tables(coded)
        if tables is not None:
            words = torch.from_numpy(tables.words).to(run.device, torch.float32)
            found[layer.name] = words, torch.from_numpy(tables.counts).to(run.device, torch.float32)
    return found


def _work(layer: Layer, inputs: Tensor, outputs: Tensor) -> Work:
    """The work of a layer for one sample, from a batch of its inputs and outputs."""
    shape = layer.shape
    total = outputs.numel() // len(outputs)
    pixels = max(1, total // shape.outputs)
    read = max(1, inputs.numel() // (len(inputs) * shape.inputs * shape.groups))
    # A kernel of one tap reads only the pixels that its stride leaves.
    read = pixels if shape.taps == 1 else read
    return Work(total * shape.taps * shape.inputs, read, pixels, layer.op == "Linear")


def _codes(value: Tensor, params: QuantParams) -> Tensor:
    """Codes of ``value`` less their zero point: integers, as float32."""
    codes = (value / params.scale).round() + params.zero_point
    return codes.clamp(0, 255) - params.zero_point


def _pixels(layer: Layer, codes: Tensor, length: int) -> Tensor:
    """Up to `PIXELS` rows of channels, evenly spread: [N, channel groups, length]."""
    rows = codes if layer.op == "Linear" else codes.movedim(1, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    count = min(len(rows), PIXELS)
    chosen = torch.arange(count, device=rows.device) * len(rows) // count
    rows = rows[chosen].unflatten(1, (layer.shape.groups, layer.shape.inputs))
    padded = torch.nn.functional.pad(rows, (0, -layer.shape.inputs % length))
    return padded.reshape(count, -1, length)
