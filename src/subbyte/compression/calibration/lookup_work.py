"""Where looking up is faster than multiplying: work of the look-up kernels beside int8's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from subbyte.graph.network import Layer
from subbyte.methods import WeightShape
from subbyte.runtime.native.layers import FEWEST_WORDS, STREAMED_WEIGHTS

# Multiply-adds of a layer on one sample, below which looking up saves less than a microsecond:
# such layers are multiplied, which is exact.
LEAST_WORK = 500_000
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
    """Whether looking up is expected to be faster than the int8 kernel by ``least_gain``."""
    return lookup_share(shape, words, length, gain, work) * least_gain <= 1


def lookup_share(shape: WeightShape, words: int, length: int, gain: bool, work: Work) -> float:
    """The time of looking up over the time of the int8 kernel, as expected.

    u = taps * outputs of a group * output pixels / input pixels is the number of look-ups that one
    table serves. The cost of the table and its look-ups is divided by u * length.
    """
    kernel = FEW_WORDS if words == FEWEST_WORDS else MANY_WORDS
    outputs = shape.outputs // shape.groups
    lanes = -(-outputs // kernel.lanes) * kernel.lanes
    uses = shape.taps * work.outputs / work.inputs
    entries = words * (kernel.entry + CHANNEL_WORK * -(-length // 4))
    lookup, product = LOOKUP_WORK[words][gain], 1.0
    if work.linear and work.outputs == 1 and shape.count >= STREAMED_WEIGHTS:
        lookup, product = max(lookup, kernel.code * BYTE_WORK), BYTE_WORK
    return (uses * lanes * lookup + entries) / (uses * outputs * length * product)


def work_of(layer: Layer, inputs: Tensor, outputs: Tensor) -> Work:
    """The work of a layer for one sample, from a batch of its inputs and outputs."""
    shape = layer.shape
    total = outputs.numel() // len(outputs)
    pixels = max(1, total // shape.outputs)
    read = max(1, inputs.numel() // (len(inputs) * shape.inputs * shape.groups))
    # A kernel of one tap reads only the pixels that its stride leaves.
    read = pixels if shape.taps == 1 else read
    return Work(total * shape.taps * shape.inputs, read, pixels, layer.op == "Linear")
