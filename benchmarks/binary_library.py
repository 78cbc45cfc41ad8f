"""The binary kernels of the native library (``subbyte/conv_binary.h``), for benchmarks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_library import TYPES, Finish, Library, NativeError, aligned, c_output
from subbyte.runtime import structures

_Bytes = NDArray[np.uint8]
PER_COLUMN = 0


@dataclass(frozen=True)
class BinaryShape:
    """``subbyte_conv_binary`` on one image of uint8, without stride, dilation or groups."""

    height: int
    width: int
    inputs: int
    outputs: int
    kernel: int
    pad: int
    order: int
    scales: int
    input_zero: int
    input_scale: float

    def structure(self) -> structures.ConvBinary:
        """The C structure."""
        layer = structures.ConvBinary(
            images=1, height=self.height, width=self.width, inputs=self.inputs, groups=1
        )
        layer.outputs, layer.order, layer.scales = self.outputs, self.order, self.scales
        layer.kernel[:] = [self.kernel] * 2
        layer.strides[:] = layer.dilations[:] = [1, 1]
        layer.pads[:] = [self.pad] * 4
        layer.input_type = TYPES[np.dtype(np.uint8)]
        layer.input_zero, layer.input_scale = self.input_zero, self.input_scale
        return layer


@dataclass(frozen=True)
class Binary:
    """A packed layer."""

    library: Library
    shape: BinaryShape
    packed: _Bytes

    def prepare(self, x: _Bytes, y: NDArray[Any], finish: Finish) -> Callable[[], None]:
        """A call that fills y uint8 or float32 from x, both [1, height, width, channels]."""
        layer, output = self.shape.structure(), c_output(TYPES[y.dtype], finish)
        size = self.library.number("subbyte_conv_binary_scratch_size", ctypes.byref(layer))
        if size == 0 or not (x.flags.c_contiguous and y.flags.c_contiguous):
            raise NativeError(self.library.error())
        scratch = aligned(size)
        packed, x_at, y_at, scratch_at = (
            ctypes.c_void_p(a.ctypes.data) for a in (self.packed, x, y, scratch)
        )

        def call(keep: object = (x, y, finish, scratch, self)) -> None:
            self.library.call(
                *("subbyte_conv_binary_run", ctypes.byref(layer), packed, x_at),
                ctypes.byref(output),
                *(y_at, ctypes.c_int64(0), ctypes.c_int64(self.shape.height), scratch_at),
            )

        return call


def pack_binary(library: Library, shape: BinaryShape, negative: NDArray[np.bool_]) -> Binary:
    """Pack the signs of the weights [O, T, C]: True for negative."""
    layer = shape.structure()
    size = library.number("subbyte_conv_binary_packed_size", ctypes.byref(layer))
    if size == 0:
        raise NativeError(library.error())
    packed, signs = aligned(size), np.packbits(negative.ravel(), bitorder="little")
    library.call(
        *("subbyte_conv_binary_pack", ctypes.byref(layer)),
        *(ctypes.c_void_p(a.ctypes.data) for a in (signs, packed)),
    )
    return Binary(library, shape, packed)
