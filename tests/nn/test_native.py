"""The layer that is trained against the kernel that runs it (``subbyte/conv_binary.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subbyte.nn import ResidualBinaryConv2d
from subbyte.runtime.library import find_library
from subbyte.runtime.native.client import Finish, NativeLibrary
from subbyte.runtime.native.structures import ConvBinary, Geometry
from tests.nn import reference

Array = NDArray[Any]

SCALES = ("column", "pixel", "image")
FLOAT = 1


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


def run_native(library: NativeLibrary, layer: ResidualBinaryConv2d, x: Array) -> Array:
    """y [N, O, ...]."""
    weight = layer.weight.detach().numpy()
    packed = library.pack(structure(layer, x), signs(weight))
    scale = np.abs(weight).mean((1, 2, 3)).astype(np.float32)
    bias = np.zeros_like(scale) if layer.bias is None else layer.bias.detach().numpy()
    rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return packed.run(rows, np.float32, Finish(scale, bias)).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def library() -> NativeLibrary:
    if find_library() is None:
        pytest.skip("the package was built without the native library")
    return NativeLibrary()


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_layers_compute_what_the_kernel_does(
    library: NativeLibrary, scales: str, order: int
) -> None:
    for layer in reference.layers(scales, order):
        x = torch.randn(2, layer.in_channels, 7, 6)
        y = layer(x).detach().numpy()
        reference.assert_close(run_native(library, layer, x.numpy()), y, 2e-6)
