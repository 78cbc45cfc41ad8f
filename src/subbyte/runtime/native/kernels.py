"""Single layers on the native kernels: for timing them.

Weights are random: how long a kernel takes does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from subbyte.runtime.native.client import Finish, Layer, NativeLibrary, PackedLayer
from subbyte.runtime.native.layers import GAIN_LEVELS, SCALES, KernelFormat, LayerSize, kernel_of
from subbyte.runtime.native.structures import (
    ConvBinary,
    ConvInt4,
    ConvInt8,
    ConvLut16,
    ConvLut256,
    GemvInt4,
    GemvLut16,
    Geometry,
)

_MOST_WORD = 15
# Linear layers of so few rows are divided by outputs where they have many words.
_LUT256_ROWS = 4


class Kernels:
    """The loaded library.

    Raises:
        MissingDependencyError: no library, or one that cannot be loaded.
    """

    def __init__(self) -> None:
        self._library = NativeLibrary()
        self.isa = self._library.isa

    def prepare(self, size: LayerSize, form: KernelFormat, seed: int = 0) -> Callable[[], None]:
        """A call that computes the layer once on the calling thread, everything packed.

        Raises:
            OptionError: a size that the kernel does not take.
        """
        rng = np.random.default_rng(seed)
        layer = _layer(size, form)
        packed = self._pack(layer, size, form, rng)
        x_shape, y_shape = packed.shapes()
        x = rng.integers(0, 256, x_shape, np.uint8)
        scale = np.full(size.outputs, 1e-3, np.float32)
        bias = np.full(size.outputs, 128, np.float32)
        few = isinstance(layer, ConvLut256) and size.linear and size.height <= _LUT256_ROWS
        return packed.prepare(x, np.zeros(y_shape, np.uint8), Finish(scale, bias), by_outputs=few)

    def _pack(
        self, layer: Layer, size: LayerSize, form: KernelFormat, rng: np.random.Generator
    ) -> PackedLayer:
        inputs = size.inputs // size.groups
        weights = (size.outputs, size.taps, inputs)
        if isinstance(layer, ConvInt8):
            return self._library.pack(layer, rng.integers(-63, 64, weights, np.int8))
        if isinstance(layer, GemvInt4 | ConvInt4):
            codes = rng.integers(0, 1 << form.bits, weights, np.uint8)
            return self._library.pack(layer, codes, np.arange(1 << form.bits, dtype=np.int8))
        if isinstance(layer, ConvBinary):
            signs = rng.integers(0, 256, -(-size.outputs * size.taps * inputs // 8), np.uint8)
            return self._library.pack(layer, signs)
        grid = (size.outputs, size.taps, -(-inputs // form.group))
        codes = rng.integers(0, form.words, grid, np.uint8)
        gain_codes = rng.integers(0, GAIN_LEVELS, grid, np.uint8) if form.gain else None
        gains = np.arange(-GAIN_LEVELS // 2, GAIN_LEVELS // 2, dtype=np.int8)
        shape = (size.groups * grid[2], form.words, form.group)
        book = rng.integers(-_MOST_WORD, _MOST_WORD + 1, shape, np.int8)
        return self._library.pack(layer, codes, gain_codes, gains if form.gain else None, book)


def geometry_of(size: LayerSize) -> Geometry:
    """The structure of a layer on one sample."""
    made = Geometry(1, size.height, size.width, size.inputs, size.outputs, size.groups)
    made.kernel, made.strides = size.kernel, size.strides
    made.dilations, made.pads = size.dilations, size.pads
    return made


def _layer(size: LayerSize, form: KernelFormat) -> Layer:
    """The layer as its kernel wants it described."""
    kernel = kernel_of(size, form)
    gains = {"gain_levels": GAIN_LEVELS if form.gain else 0, "shift": 8}
    gemm = {"rows": size.height, "inputs": size.inputs, "outputs": size.outputs}
    place = {"geometry": geometry_of(size)}
    made: dict[str, Callable[[], Layer]] = {
        "conv_binary": lambda: ConvBinary(
            **place, order=form.order, scales=SCALES.index(form.scales), input_scale=1
        ),
        "conv_int4": lambda: ConvInt4(**place, bits=form.bits),
        "conv_int8": lambda: ConvInt8(**place),
        "conv_lut16": lambda: ConvLut16(**place, word_length=form.group, **gains),
        "conv_lut256": lambda: ConvLut256(
            **place, word_length=form.group, words=form.words, **gains
        ),
        "gemv_int4": lambda: GemvInt4(**gemm, bits=form.bits),
        "gemv_lut16": lambda: GemvLut16(**gemm, word_length=form.group, **gains),
    }
    return made[kernel]()
