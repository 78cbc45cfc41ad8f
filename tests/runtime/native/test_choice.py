"""Python's rule of kernels is that of the operators."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from subbyte.runtime.library import find_library
from subbyte.runtime.native.client import NativeLibrary
from subbyte.runtime.native.kernels import geometry_of
from subbyte.runtime.native.layers import GAIN_LEVELS, SCALES, KernelFormat, LayerSize, kernel_of
from subbyte.runtime.native.structures import INT8, LEVELS, SIGNS, WORDS, Weights

pytestmark = pytest.mark.skipif(
    find_library() is None, reason="the package was built without the native library"
)

FORMS = (
    KernelFormat(),
    *(KernelFormat(order=order, scales=scales) for order in (1, 3) for scales in SCALES),
    *(KernelFormat(bits=bits) for bits in range(1, 9)),
    *(
        KernelFormat(group, gain, words=words)
        for group in (1, 2, 3, 4, 8, 16, 17)
        for gain in (False, True)
        for words in (16, 32, 64, 128, 256)
    ),
)
# Where the rule turns: 48 pixels, 4 rows, 2^20 weights, 2^16 inputs, 2^16 codes of a sum.
SIZES = (
    *(
        LayerSize(rows, 1, inputs, outputs, linear=linear)
        for rows in (1, 4, 5, 47, 48)
        for inputs, outputs in ((64, 64), (1024, 1024), (1024, 1023), (65536, 16), (65540, 16))
        for linear in (False, True)
    ),
    *(LayerSize(1, 1, inputs, 8, linear=True) for inputs in (1 << 17, (1 << 18) + 1, 1 << 20)),
    *(
        LayerSize(side, side, 16, 16, groups, (3, 3), strides, pads=(1, 1, 1, 1))
        for side in (6, 7, 13, 14)
        for groups in (1, 2, 16)
        for strides in ((1, 1), (2, 2))
    ),
    LayerSize(8, 8, 30000, 4, kernel=(3, 3)),
    LayerSize(20, 20, 64, 64, kernel=(3, 3), dilations=(4, 6)),
)


def weights_of(form: KernelFormat, linear: bool) -> Weights:
    if form.order:
        return Weights(format=SIGNS, linear=linear)
    if form.bits:
        return Weights(format=LEVELS, linear=linear, bits=form.bits)
    if form.group == 0:
        return Weights(format=INT8, linear=linear)
    gains = GAIN_LEVELS if form.gain else 0
    return Weights(WORDS, linear, 1, 0, form.words, form.group, gains)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_python_chooses_as_the_operators_do(form: KernelFormat) -> None:
    library = NativeLibrary()
    for size in SIZES:
        chosen = library.kernel_of(geometry_of(size), weights_of(form, size.linear))
        assert kernel_of(size, form) == chosen, size


def test_every_kernel_is_chosen_somewhere() -> None:
    chosen = {kernel_of(size, form) for size, form in itertools.product(SIZES, FORMS)}
    assert chosen == {
        *("conv_binary", "conv_int4", "conv_int8", "conv_lut16", "conv_lut256"),
        *("gemv_int4", "gemv_lut16"),
    }


def test_random_layers() -> None:
    library, rng = NativeLibrary(), np.random.default_rng(0)
    for _ in range(300):
        groups, kernel = int(rng.choice([1, 1, 2, 4])), tuple(map(int, rng.integers(1, 4, 2)))
        size = LayerSize(
            *map(int, rng.integers(4, 12, 2)),
            *(groups * int(count) for count in rng.integers(1, 40, 2)),
            *(groups, (kernel[0], kernel[1])),
        )
        form = FORMS[int(rng.integers(len(FORMS)))]
        chosen = library.kernel_of(geometry_of(size), weights_of(form, False))
        assert kernel_of(size, form) == chosen, (size, form)
