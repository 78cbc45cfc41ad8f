"""Single layers on the native kernels, through the library's C interface: for timing them.

Weights are random: how long a kernel takes does not depend on them.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import MissingDependencyError, OptionError
from subbyte.runtime.library import library_path, native_isa
from subbyte.runtime.structures import (
    ConvBinary,
    ConvInt8,
    ConvLut16,
    ConvLut256,
    GemvInt4,
    GemvLut16,
    Output,
)

_ALIGNMENT = 64
FEWEST_WORDS = 16
_MOST_WORD = 15
# Channels that the kernels for more words take at once: shorter ones are filled with zeros.
_CHUNK = 4
SCALES = ("column", "pixel", "image")
_UINT8 = 0
_GAIN_LEVELS = 16
# Linear layers of so many weights, and so few rows, go to the kernels of gemv.h.
_STREAMED_WEIGHTS, _STREAMED_ROWS = 1 << 20, 4
# Linear layers of so few rows are divided by outputs where they have many words.
_WORDS_ROWS = 4


@dataclass(frozen=True)
class Form:
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
        ``binary 2 column``. Forms of one name take the same time."""
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
        return few and self.inputs * self.outputs >= _STREAMED_WEIGHTS

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return math.prod(self.out) * self.taps * self.outputs * (self.inputs // self.groups)


_KINDS = ("conv_int8", "conv_lut16", "conv_lut256", "conv_binary", "gemv_lut16", "gemv_int4")


class Kernels:
    """The loaded library.

    Raises:
        MissingDependencyError: no library, or one that cannot be loaded.
    """

    def __init__(self) -> None:
        path = library_path()
        self.isa = native_isa()
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise MissingDependencyError(
                "cannot load the native library", where=str(path), got=str(error)
            ) from error
        self._library.subbyte_error.restype = ctypes.c_char_p
        for kind in _KINDS:
            for size in ("packed_size", "scratch_size"):
                getattr(self._library, f"subbyte_{kind}_{size}").restype = ctypes.c_size_t

    def prepare(self, size: LayerSize, form: Form, seed: int = 0) -> Callable[[], None]:
        """A call that computes the layer once on the calling thread, everything packed.

        Raises:
            OptionError: a size that the kernel does not take.
        """
        rng = np.random.default_rng(seed)
        kind, layer = _structure(size, form)
        packed = self._buffer(f"subbyte_{kind}_packed_size", layer)
        self._pack(kind, layer, size, form, packed, rng)
        scratch = self._buffer(f"subbyte_{kind}_scratch_size", layer)
        x = rng.integers(0, 256, (size.height, size.width, size.inputs), np.uint8)
        rows, columns = size.out
        y = np.zeros((rows, columns, size.outputs), np.uint8)
        scale = np.full(size.outputs, 1e-3, np.float32)
        bias = np.full(size.outputs, 128, np.float32)
        output = Output(type=_UINT8, scale=scale.ctypes.data, bias=bias.ctypes.data, high=255)
        weights = (ctypes.byref(layer), _pointer(packed))
        out, into, work = ctypes.byref(output), _pointer(y), _pointer(scratch)
        kept = (layer, packed, x, output, scale, bias, y, scratch)
        if not _by_outputs(kind, size):
            run = getattr(self._library, f"subbyte_{kind}_run")

            def by_rows(keep: object = kept) -> None:
                ends = (ctypes.c_int64(0), ctypes.c_int64(rows))
                self._check(run(*weights, _pointer(x), out, into, *ends, work))

            return by_rows
        fill = getattr(self._library, f"subbyte_{kind}_prepare")
        part = getattr(self._library, f"subbyte_{kind}_run" + "_outputs" * (kind == "conv_lut256"))

        def by_outputs(keep: object = kept) -> None:
            ends = (ctypes.c_int64(0), ctypes.c_int64(size.outputs))
            self._check(fill(*weights, _pointer(x), work))
            self._check(part(*weights, work, out, into, *ends))

        return by_outputs

    def _pack(
        self,
        kind: str,
        layer: ctypes.Structure,
        size: LayerSize,
        form: Form,
        packed: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> None:
        inputs = size.inputs // size.groups
        if kind == "conv_int8":
            weights = rng.integers(-63, 64, (size.outputs, size.taps, inputs), np.int8)
            status = self._library.subbyte_conv_int8_pack(
                ctypes.byref(layer), _pointer(weights), _pointer(packed)
            )
            return self._check(status)
        if kind == "gemv_int4":
            codes = rng.integers(0, 1 << form.bits, (size.outputs, inputs), np.uint8)
            levels = np.arange(1 << form.bits, dtype=np.int8)
            status = self._library.subbyte_gemv_int4_pack(
                ctypes.byref(layer), _pointer(codes), _pointer(levels), _pointer(packed)
            )
            return self._check(status)
        if kind == "conv_binary":
            signs = rng.integers(0, 256, -(-size.outputs * size.taps * inputs // 8), np.uint8)
            status = self._library.subbyte_conv_binary_pack(
                ctypes.byref(layer), _pointer(signs), _pointer(packed)
            )
            return self._check(status)
        grid = (size.outputs, size.taps, -(-inputs // form.group))
        codes = rng.integers(0, form.words, grid, np.uint8)
        gain_codes = rng.integers(0, _GAIN_LEVELS, grid, np.uint8) if form.gain else None
        gains = np.arange(-_GAIN_LEVELS // 2, _GAIN_LEVELS // 2, dtype=np.int8)
        shape = (size.groups * grid[2], form.words, form.group)
        book = rng.integers(-_MOST_WORD, _MOST_WORD + 1, shape, np.int8)
        pack = getattr(self._library, f"subbyte_{kind}_pack")
        status = pack(
            ctypes.byref(layer),
            _pointer(codes),
            None if gain_codes is None else _pointer(gain_codes),
            _pointer(gains) if form.gain else None,
            _pointer(book),
            _pointer(packed),
        )
        return self._check(status)

    def _buffer(self, function: str, layer: ctypes.Structure) -> NDArray[np.uint8]:
        size = int(getattr(self._library, function)(ctypes.byref(layer)))
        if size == 0:
            self._check(1)
        block = np.zeros(size + _ALIGNMENT, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + size]

    def _check(self, status: int) -> None:
        if status != 0:
            raise OptionError("native kernels", got=self._library.subbyte_error().decode())


def _structure(size: LayerSize, form: Form) -> tuple[str, ctypes.Structure]:
    """Which kernel the operators take, and the layer as it wants it described."""
    gains = {"gain_levels": _GAIN_LEVELS if form.gain else 0, "shift": 8}
    gemm = {"rows": size.height, "inputs": size.inputs, "outputs": size.outputs}
    if form.bits:
        return "gemv_int4", GemvInt4(**gemm, bits=form.bits)
    many = form.words > FEWEST_WORDS
    if form.group and size.streamed and not many:
        return "gemv_lut16", GemvLut16(**gemm, word_length=form.group, **gains)
    kind: str
    layer: ctypes.Structure
    if form.order:
        scales = SCALES.index(form.scales)
        kind, layer = "conv_binary", ConvBinary(order=form.order, scales=scales, input_scale=1)
    elif form.group and many:
        kind, layer = "conv_lut256", ConvLut256(word_length=form.group, words=form.words, **gains)
    elif form.group:
        kind, layer = "conv_lut16", ConvLut16(word_length=form.group, **gains)
    else:
        kind, layer = "conv_int8", ConvInt8()
    _place(layer, size)
    return kind, layer


def _by_outputs(kind: str, size: LayerSize) -> bool:
    """Whether the operators divide a layer by its outputs, not by rows of y."""
    few = size.linear and size.height <= _WORDS_ROWS
    return kind.startswith("gemv") or (kind == "conv_lut256" and few)


def _place(layer: ctypes.Structure, size: LayerSize) -> None:
    """Fill in the fields that all layers have."""
    layer.images = 1
    for name in ("height", "width", "inputs", "outputs", "groups"):
        setattr(layer, name, getattr(size, name))
    for name in ("kernel", "strides", "dilations", "pads"):
        getattr(layer, name)[:] = getattr(size, name)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
