"""The C interface of the look-up kernels against numpy, on weights that the encoder made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subbyte.errors import OptionError
from subbyte.methods import CodedWeight, WeightShape, packing
from subbyte.methods.coded import decode_scale
from subbyte.methods.product import encode, form
from subbyte.methods.product.form import ProductOptions
from subbyte.runtime.native.client import Finish, NativeLibrary, PackedLayer
from subbyte.runtime.native.structures import ConvLut16, Geometry

ROOT = Path(__file__).parents[2]
KERNEL, PADS, STRIDES = (3, 2), (1, 0, 2, 1), (2, 1)
OUTPUTS, INPUTS, HEIGHT, WIDTH = 20, 22, 7, 6

OPTIONS = [
    ProductOptions(2),
    ProductOptions(3, gain=1),
    ProductOptions(4),
    ProductOptions(4, gain=3),
    ProductOptions(4, gain=2, shared=True),
    ProductOptions(6, shared=True),
    ProductOptions(8),
    ProductOptions(8, gain=4),
]
# A shared codebook is one for the whole layer, which has one group then.
GROUPED = [(options, groups) for options in OPTIONS for groups in (1, 2)[: 2 - options.shared]]


def ident(value: ProductOptions | int) -> str:
    if isinstance(value, int):
        return f"groups{value}"
    return f"d{value.group}-g{value.gain}{'-shared' if value.shared else ''}"


@pytest.fixture(scope="module")
def library() -> NativeLibrary:
    return NativeLibrary()


def coded(options: ProductOptions, groups: int) -> CodedWeight:
    shape = WeightShape(OUTPUTS, KERNEL[0] * KERNEL[1], INPUTS // groups, groups)
    rng = torch.Generator().manual_seed(0)
    target = torch.randn(shape.outputs, shape.taps, shape.inputs, generator=rng)
    moments = torch.eye(shape.taps * shape.inputs).expand(groups, -1, -1)
    return encode.encode(target, moments, shape, options, seed=0)


def layer(weight: CodedWeight, zero: int, shift: int) -> ConvLut16:
    book = weight.inputs["codebook"]
    return ConvLut16(
        Geometry(
            *(2, HEIGHT, WIDTH, INPUTS, OUTPUTS, weight.shape.groups),
            *(KERNEL, STRIDES, (1, 1), PADS),
        ),
        word_length=book.shape[2],
        shared=len(book) == 1,
        gain_levels=len(weight.inputs["gains"]) if weight.variant else 0,
        input_zero=zero,
        shift=shift,
    )


def codes_of(weight: CodedWeight, name: str) -> NDArray[np.uint8]:
    """Unpacked codes or gain codes [O, T, G]."""
    shape = weight.attributes["code_shape"]
    assert isinstance(shape, list)
    flat = packing.unpack(weight.inputs[name].astype(np.uint8), int(np.prod(shape)))
    return flat.reshape(OUTPUTS, *shape[2:]).astype(np.uint8)


def pack(library: NativeLibrary, weight: CodedWeight, shape: ConvLut16) -> PackedLayer:
    book = weight.inputs["codebook"].astype(np.int8)
    if not weight.variant:
        return library.pack(shape, codes_of(weight, "codes"), None, None, book)
    gains = weight.inputs["gains"].astype(np.int8)
    gain_codes = codes_of(weight, "gain_codes")
    return library.pack(shape, codes_of(weight, "codes"), gain_codes, gains, book)


def gain_of(weight: CodedWeight) -> NDArray[np.float64]:
    """Gains [O, T, G] as fractions."""
    if not weight.variant:
        return np.ones(codes_of(weight, "codes").shape)
    return weight.inputs["gains"].astype(np.float64)[codes_of(weight, "gain_codes")] / 64


def exact_weight(weight: CodedWeight) -> NDArray[np.float64]:
    """[O, T, I]: gain * word before it is rounded to the file's integers."""
    book = weight.inputs["codebook"].astype(np.float64)
    codes = codes_of(weight, "codes")
    words = codes.shape[2]
    group = np.arange(OUTPUTS) // (OUTPUTS // weight.shape.groups)
    number = group[:, None, None] * words + np.arange(words)
    number = number % len(book) if len(book) == 1 else number
    values = gain_of(weight)[..., None] * book[number, codes]
    return values.reshape(OUTPUTS, codes.shape[1], -1)[..., : weight.shape.inputs]


def convolve(
    x: NDArray[np.float64], weight: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """x [N, H, W, C], weight [O, T, I] -> [N, OH, OW, O], zeros in the padding."""
    top, left, bottom, right = PADS
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, KERNEL, axis=(1, 2))
    windows = windows[:, :: STRIDES[0], :: STRIDES[1]]
    inputs, outputs = x.shape[3] // groups, len(weight) // groups
    parts = [
        np.einsum(
            "nyxct,otc->nyxo",
            windows[:, :, :, p * inputs : (p + 1) * inputs].reshape(*windows.shape[:3], inputs, -1),
            weight[p * outputs : (p + 1) * outputs],
        )
        for p in range(groups)
    ]
    return np.concatenate(parts, axis=3)


def rounding_bound(weight: CodedWeight, shift: int) -> NDArray[np.float64]:
    """[O]: each entry is off by at most half a step of 2**shift, times its gain."""
    return np.abs(gain_of(weight)).sum((1, 2)) * (2**shift / 2 if shift else 0)


def sums(lookup: PackedLayer, x: NDArray[np.uint8]) -> NDArray[np.int32]:
    return lookup.run(x, np.int32)


def image(low: int, high: int) -> NDArray[np.uint8]:
    """Values of low to high."""
    rng = np.random.default_rng(1)
    return rng.integers(low, high + 1, (2, HEIGHT, WIDTH, INPUTS)).astype(np.uint8)


@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize(("options", "groups"), GROUPED, ids=ident)
def test_sums_without_a_shift_are_exact(
    library: NativeLibrary, options: ProductOptions, groups: int, zero: int
) -> None:
    """A step above the zero point no entry saturates: a word's parts sum to at most 126."""
    weight = coded(options, groups)
    x = image(zero, zero + 1)
    got = sums(pack(library, weight, layer(weight, zero, shift=0)), x)
    unit = 64 if weight.variant else 1
    expected = convolve(x.astype(float) - zero, exact_weight(weight) * unit, groups)
    np.testing.assert_array_equal(got, expected)
    if not weight.variant:
        decoded = convolve(x.astype(float) - zero, form.decode(weight).astype(float), groups)
        np.testing.assert_array_equal(got, decoded)


@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize(("options", "groups"), GROUPED, ids=ident)
def test_sums_are_within_the_bound_of_the_table_rounding(
    library: NativeLibrary, options: ProductOptions, groups: int, zero: int
) -> None:
    """At shift 8 no entry saturates; a gain also leaves out the rounding of the file's weights."""
    weight = coded(options, groups)
    x = image(0, 255)
    got = sums(pack(library, weight, layer(weight, zero, shift=8)), x) * 256.0
    centred = x.astype(float) - zero
    if weight.variant:
        got /= 64
    bound = rounding_bound(weight, shift=8)
    error = np.abs(got - convolve(centred, exact_weight(weight), groups))
    assert error.max() > 0
    assert np.all(error <= bound)
    decoded = form.decode(weight).astype(float)
    distance = np.abs(decoded - exact_weight(weight))
    bound = bound + convolve(np.abs(centred), distance, groups)
    assert distance.max() <= 0.5
    assert np.all(np.abs(got - convolve(centred, decoded, groups)) <= bound)


@pytest.mark.parametrize("shift", [1, 3])
def test_the_rounding_of_tables_averages_out(library: NativeLibrary, shift: int) -> None:
    """Small products, of which none saturates: were all ties to go up, a channel group would add
    half a unit on average."""
    options = ProductOptions(2, shared=True)
    weight = coded(options, 1)
    rng = np.random.default_rng(3)
    book = rng.integers(-40, 41, weight.inputs["codebook"].shape)
    weight = replace(weight, inputs={**weight.inputs, "codebook": book.astype(np.int8)})
    x = rng.integers(126, 129, (2, HEIGHT, WIDTH, INPUTS)).astype(np.uint8)
    got = sums(pack(library, weight, layer(weight, 127, shift)), x) * float(2**shift)
    error = got - convolve(x.astype(float) - 127, exact_weight(weight), 1)
    entries = KERNEL[0] * KERNEL[1] * INPUTS / 2
    assert error.std() > 0
    assert abs(error.mean()) < 0.05 * entries


@pytest.mark.parametrize("options", [ProductOptions(4), ProductOptions(4, gain=3)], ids=ident)
def test_outputs_follow_the_file_s_formula(library: NativeLibrary, options: ProductOptions) -> None:
    """y = quantize(scale * W (x - x_zero) + bias + r), up to the table rounding and one step."""
    zero, shift, y_zero, y_scale, r_zero, r_scale = 128, 8, 128, 0.5, 120, 0.3
    weight = coded(options, 1)
    x = image(0, 255)
    lookup = pack(library, weight, layer(weight, zero, shift))
    rng = np.random.default_rng(2)
    bias = rng.standard_normal(OUTPUTS).astype(np.float32)
    scale = decode_scale(weight) * np.float32(0.02)
    factor = np.float32(2**shift / (64 if weight.variant else 1) / y_scale)
    r = rng.integers(0, 256, lookup.shapes()[1]).astype(np.uint8)
    finish = Finish(
        scale * factor, bias / np.float32(y_scale), r, r_scale / y_scale, r_zero, y_zero, 3, 250
    )
    y = lookup.run(x, np.uint8, finish)
    real = convolve(x.astype(float) - zero, exact_weight(weight), 1) * scale + bias
    expected = np.clip((real + r_scale * (r.astype(float) - r_zero)) / y_scale + y_zero, 3, 250)
    bound = rounding_bound(weight, shift) * scale / y_scale + 0.5 + 1e-3
    assert np.all(np.abs(y - expected) <= bound)
    assert {3, 250} <= set(y.reshape(-1).tolist())


def test_errors_say_what_was_expected(library: NativeLibrary) -> None:
    weight = coded(ProductOptions(4), 1)
    with pytest.raises(OptionError, match="shift: expected 0 to 8, got 9"):
        pack(library, weight, layer(weight, 0, shift=9))
    shape = layer(weight, 0, shift=0)
    book = weight.inputs["codebook"].astype(np.int8)
    with pytest.raises(OptionError, match="codes: expected less than 16, got 16 at 0"):
        library.pack(shape, np.full((OUTPUTS, 6, 6), 16, np.uint8), None, None, book)


def run_level(name: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SUBBYTE_ISA": name}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_the_environment_forces_the_level() -> None:
    code = "from subbyte.runtime import native_isa; print(native_isa())"
    for name in ("reference", "portable"):
        assert run_level(name, code).stdout.strip() == name
    failed = run_level("sse9", code)
    assert failed.returncode == 1
    assert "SUBBYTE_ISA: expected one of reference, portable" in failed.stderr
    assert "got sse9" in failed.stderr
