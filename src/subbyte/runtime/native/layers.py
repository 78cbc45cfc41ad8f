"""Layers and formats of weights as the kernels see them, and the rule by which one is chosen.

The operators have the same rule (``subbyte/choice.h``). It is said a second time here so that plans
need no library; a test holds the two to each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FEWEST_WORDS = 16
# Gains of a form with a gain.
GAIN_LEVELS = 16
SCALES = ("column", "pixel", "image")
# Channels that the kernels for more words take at once: shorter ones are filled with zeros.
_CHUNK = 4
# Linear layers of so many weights, and so few rows, wait for memory: kernels of gemv.h.
STREAMED_WEIGHTS, _STREAMED_ROWS = 1 << 20, 4
_STREAMED_BITS, _STREAMED_INPUTS = 4, 1 << 16
# From so many pixels on, codes of 3 and 4 bits stay packed in convolutions.
_UNPACK_BITS, _UNPACK_PIXELS = (3, 4), 48
# What look-ups take: codes of a sum, in fours, and channels of a word.
_LOOKUP_CODES, _LOOKUP_LENGTH = 1 << 16, 16


@dataclass(frozen=True)
class KernelFormat:
    """How a kernel has its weights, one of these four:

    - int8 (``group`` 0);
    - codes of ``group`` channels, looked up in ``words`` words, with or without a gain;
    - ``bits`` a weight, unpacked on the way (streamed layers only);
    - signs, x binarized to ``order`` with ``scales`` shared so.
    """

    group: int = 0
    gain: bool = False
    bits: int = 0
    words: int = FEWEST_WORDS
    order: int = 0
    scales: str = SCALES[0]

    @property
    def name(self) -> str:
        """``int8``, ``look-up 4``, ``look-up 4 gain``, ``look-up 8 of 64``, ``unpack 3``,
        ``binary 2 column``. Formats of one name take the same time."""
        if self.order:
            return f"binary {self.order} {self.scales}"
        if self.bits:
            return f"unpack {self.bits}"
        if self.group == 0:
            return "int8"
        many = self.words > FEWEST_WORDS
        length = -(-self.group // _CHUNK) * _CHUNK if many else self.group
        return f"look-up {length}" + f" of {self.words}" * many + " gain" * self.gain


@dataclass(frozen=True)
class LayerSize:
    """One layer on one sample, x [height, width, inputs], inputs and outputs over all groups.

    A linear layer on M rows is M x 1 with a kernel of 1 x 1, and ``linear``.
    """

    height: int
    width: int
    inputs: int
    outputs: int
    groups: int = 1
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    linear: bool = False

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of y."""
        return self._out(0, self.height), self._out(1, self.width)

    def _out(self, axis: int, size: int) -> int:
        span = self.dilations[axis] * (self.kernel[axis] - 1) + 1
        return (size + self.pads[axis] + self.pads[axis + 2] - span) // self.strides[axis] + 1

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return math.prod(self.kernel)

    @property
    def streamed(self) -> bool:
        """Whether the operators take the kernels for weights that are read once a run."""
        few = self.linear and self.height <= _STREAMED_ROWS
        return few and self.inputs * self.outputs >= STREAMED_WEIGHTS

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return math.prod(self.out) * self.taps * self.outputs * (self.inputs // self.groups)

    @property
    def depthwise(self) -> bool:
        """One input and output a group."""
        return self.groups > 1 and self.inputs == self.groups == self.outputs


def kernel_of(size: LayerSize, form: KernelFormat) -> str:
    """The kernel that the operators run a layer with: ``conv_int8``, ``gemv_lut16`` ...

    ``form`` of looked-up layers is one whose file says how tables are rounded.
    """
    if form.order:
        return "conv_binary"
    if form.bits:
        return _kernel_of_levels(size, form.bits)
    return _kernel_of_words(size, form) if form.group else "conv_int8"


def _kernel_of_levels(size: LayerSize, bits: int) -> str:
    if size.streamed and bits <= _STREAMED_BITS and size.inputs <= _STREAMED_INPUTS:
        return "gemv_int4"
    unpacked = bits in _UNPACK_BITS and math.prod(size.out) >= _UNPACK_PIXELS
    return "conv_int4" if unpacked and not size.depthwise else "conv_int8"


def _kernel_of_words(size: LayerSize, form: KernelFormat) -> str:
    codes = -(-(size.inputs // size.groups) // form.group)
    if form.group > _LOOKUP_LENGTH or size.taps > _LOOKUP_CODES // (-(-codes // 4) * 4):
        return "conv_int8"
    if form.words > FEWEST_WORDS:
        return "conv_lut256"
    return "gemv_lut16" if size.streamed else "conv_lut16"
