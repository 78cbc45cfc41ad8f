"""The grid of timed layers: layers, formats, and the terms of each layer's time."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.native.layers import FEWEST_WORDS, SCALES, KernelFormat, LayerSize

LOOKUPS = tuple(KernelFormat(group, gain) for group in (2, 3, 4, 6, 8) for gain in (False, True))
MANY_WORDS = tuple(
    KernelFormat(group, gain, words=words)
    for words in (32, 64, 128, 256)
    for group in (4, 8)
    for gain in (False, True)
)
BINARY = tuple(KernelFormat(order=order, scales=scales) for scales in SCALES for order in (1, 2, 3))
UNPACKED = tuple(KernelFormat(bits=bits) for bits in (2, 3, 4))
FORMS = (KernelFormat(), *LOOKUPS)
ALL_FORMATS = (*FORMS, *MANY_WORDS, *BINARY)
DEPTHWISE = "int8 depthwise"
STREAMED = " streamed"

# Outputs that one step of the kernels' inner loop computes; groups of codes in a table.
_BLOCK, _TABLE = 16, 4
_MANY_BLOCK = 64
# Channels of a word of signs, outputs that are counted at once.
_SIGNS, _COUNTED = 64, 8
_CHANNELS = ((16, 16), (32, 64), (64, 64), (64, 256), (128, 128), (256, 64), (256, 256))
_SIZES = (7, 14, 28, 56)
_FEWER = ((32, 64), (64, 64), (64, 256), (128, 128), (256, 256))
_MOST_WORK = 1e8
_LINEAR = ((1, 64, 16), (1, 256, 256), (1, 512, 1000), (1, 768, 768))
_STREAMED = (
    *((1, 1024, 1024), (1, 2048, 1000), (1, 4096, 1024), (1, 1024, 4096)),
    *((2, 2048, 1024), (4, 1024, 1024)),
)
_ROWS = ((98, 64, 64), (98, 64, 256), (98, 256, 64), (49, 192, 576))
_DEPTHWISE = tuple(itertools.product((16, 64, 256), (7, 14, 28), (3, 5)))


def terms(size: LayerSize, form: KernelFormat) -> NDArray[np.float64]:
    """The terms of a layer's time (`subbyte.runtime.timings`), in the order of the prices."""
    rows, columns = size.out
    pixels, inputs = rows * columns, size.inputs // size.groups
    if form.order:
        return _binary_terms(size, form)
    if price_name(size, form) == DEPTHWISE:
        work = pixels * size.taps * size.outputs
        return np.array([1.0, pixels * size.outputs, size.height * size.width * size.inputs, work])
    block = _MANY_BLOCK if form.words > FEWEST_WORDS else _BLOCK
    blocks = size.groups * -(-size.outputs // size.groups // block) * block
    words = -(-inputs // (form.group or 1) // _TABLE) * _TABLE
    tables = size.height * size.width * size.groups * words
    weights = size.taps * words * blocks
    return np.array([1.0, pixels * size.outputs, tables, pixels * weights, weights], np.float64)


def _binary_terms(size: LayerSize, form: KernelFormat) -> NDArray[np.float64]:
    """With values that are binarized for tables, and words of signs for look-ups: pixels of x,
    or of the receptive fields where each is binarized by itself."""
    rows, columns = size.out
    pixels = rows * columns
    own = form.scales == SCALES[0] and form.order > 1
    binarized = (pixels * size.taps if own else size.height * size.width) * size.inputs
    blocks = size.groups * -(-size.outputs // size.groups // _COUNTED) * _COUNTED
    weights = size.taps * -(-size.inputs // size.groups // _SIGNS) * blocks
    return np.array([1.0, pixels * size.outputs, binarized, pixels * weights, weights], np.float64)


def products(form: KernelFormat) -> int:
    """Multiply-adds that one look-up or one word of signs stands for."""
    return _SIGNS if form.order else form.group or 1


def price_name(size: LayerSize, form: KernelFormat) -> str:
    """The name of the prices for a layer in a form."""
    if form == KernelFormat() and size.groups == size.inputs > 1:
        return DEPTHWISE
    return form.name + STREAMED * (size.streamed and form.words == FEWEST_WORDS and form.group > 0)


def grid() -> list[tuple[LayerSize, KernelFormat]]:
    """Every layer that is timed, in every format in which it is."""
    linear = [LayerSize(m, 1, i, o, linear=True) for m, i, o in (*_LINEAR, *_ROWS, *_STREAMED)]
    sizes = [*_convolutions(_CHANNELS, _SIZES), *linear]
    # Formats of few cases: nothing new comes of more sizes.
    fewer = [*_convolutions(_FEWER, _SIZES[:-1]), *linear]
    depthwise = [
        LayerSize(side, side, c, c, c, kernel=(k, k), pads=(k // 2,) * 4)
        for c, side, k in _DEPTHWISE
    ]
    return [
        *itertools.product(sizes, FORMS),
        *((size, KernelFormat()) for size in depthwise),
        *itertools.product([size for size in sizes if size.streamed], UNPACKED),
        *itertools.product(fewer, (*MANY_WORDS, *BINARY)),
    ]


def _convolutions(channels: tuple[tuple[int, int], ...], sides: tuple[int, ...]) -> list[LayerSize]:
    sizes = [
        LayerSize(side, side, inputs, outputs, kernel=(k, k), pads=(k // 2,) * 4)
        for (inputs, outputs), side, k in itertools.product(channels, sides, (1, 3))
    ]
    return [size for size in sizes if size.work <= _MOST_WORK]


def format_names() -> list[str]:
    """The names of the formats that a table has prices for."""
    whole = [form.name for form in (*ALL_FORMATS, *UNPACKED)]
    return [*whole, *(form.name + STREAMED for form in LOOKUPS), DEPTHWISE]
