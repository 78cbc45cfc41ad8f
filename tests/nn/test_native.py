"""The layer that is trained against the kernel that runs it (``subbyte/conv_binary.h``)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subbyte.nn import ResidualBinaryConv2d
from subbyte.runtime.library import find_library
from subbyte.runtime.structures import ConvBinary, Geometry, Output
from tests.nn import reference

Array = NDArray[Any]

SCALES = ("column", "pixel", "image")
FLOAT = 1
ALIGNMENT = 64


def structure(layer: ResidualBinaryConv2d, x: Array) -> ConvBinary:
    window = layer.window
    images, inputs, height, width = x.shape
    geometry = Geometry(images, height, width, inputs, layer.out_channels, window.groups)
    geometry.kernel, geometry.strides = layer.kernel_size, window.stride
    geometry.dilations, geometry.pads = window.dilation, window.pads
    return ConvBinary(geometry, window.order, SCALES.index(window.scales), FLOAT, 0, 0.0)


def signs(weight: Array) -> Array:
    """Bit (o * T + t) * C + i, from the lowest of the first byte on: 1 if negative."""
    negative = weight.transpose(0, 2, 3, 1).reshape(-1) < 0
    return np.packbits(negative, bitorder="little")


def aligned(size: int) -> Array:
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size]


def pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def run_native(library: ctypes.CDLL, layer: ResidualBinaryConv2d, x: Array) -> Array:
    """y [N, O, ...]."""
    shape = structure(layer, x)
    buffers = []
    for name in ("packed_size", "scratch_size"):
        function = getattr(library, f"subbyte_conv_binary_{name}")
        function.restype = ctypes.c_size_t
        buffers.append(aligned(function(ctypes.byref(shape))))
    packed, scratch = buffers
    sizes = (ctypes.c_int64(), ctypes.c_int64())
    ends = (ctypes.byref(size) for size in sizes)
    assert library.subbyte_out_size(ctypes.byref(shape.geometry), *ends) == 0
    height, width = (size.value for size in sizes)
    weight = layer.weight.detach().numpy()
    bits = signs(weight)
    weights = (pointer(bits), pointer(packed))
    assert library.subbyte_conv_binary_pack(ctypes.byref(shape), *weights) == 0
    scale = np.abs(weight).mean((1, 2, 3)).astype(np.float32)
    bias = np.zeros_like(scale) if layer.bias is None else layer.bias.detach().numpy()
    output = Output(FLOAT, scale.ctypes.data, bias.ctypes.data, None, 0, 0, 0, 0, 255, 0, 0)
    rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    y = np.empty((len(x), height, width, layer.out_channels), np.float32)
    status = library.subbyte_conv_binary_run(
        *(ctypes.byref(shape), pointer(packed), pointer(rows), ctypes.byref(output), pointer(y)),
        *(ctypes.c_int64(0), ctypes.c_int64(len(x) * height), pointer(scratch)),
    )
    assert status == 0
    return y.transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    path = find_library()
    if path is None:
        pytest.skip("the package was built without the native library")
    return ctypes.CDLL(str(path))


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_layers_compute_what_the_kernel_does(library: ctypes.CDLL, scales: str, order: int) -> None:
    for layer in reference.layers(scales, order):
        x = torch.randn(2, layer.in_channels, 7, 6)
        y = layer(x).detach().numpy()
        reference.assert_close(run_native(library, layer, x.numpy()), y, 2e-6)
