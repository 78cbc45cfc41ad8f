"""The native library through its C interface, for tests and benchmarks.

The library is the one installed with the package, or the file that the environment variable
SUBBYTE_NATIVE_LIBRARY names.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import subbyte
from subbyte.runtime import structures

ALIGNMENT = 64
TYPES = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.int32): 2}

_Bytes = NDArray[np.uint8]


class NativeError(Exception):
    """A call of the library failed; the message is the library's."""


@dataclass(frozen=True)
class Shape:
    """``subbyte_conv_lut16``, field by field."""

    images: int
    height: int
    width: int
    inputs: int
    outputs: int
    word_length: int
    groups: int = 1
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    shared: bool = False
    gain_levels: int = 0
    input_zero: int = 0
    shift: int = 0

    def structure(self) -> structures.ConvLut16:
        """The C structure."""
        layer = structures.ConvLut16()
        for entry in fields(self):
            setattr(layer, entry.name, getattr(self, entry.name))
        return layer


@dataclass(frozen=True)
class Finish:
    """``subbyte_output``: scale and bias float32 [O], the residual like y, and bounds."""

    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    residual: _Bytes | None = None
    residual_scale: float = 0.0
    residual_zero: int = 0
    zero: int = 0
    low: int = 0
    high: int = 255


@dataclass
class Lookup:
    """A packed layer: ``run`` computes y from x."""

    library: Library
    shape: Shape
    packed: _Bytes
    out_height: int
    out_width: int
    _scratch: _Bytes = field(init=False)

    def __post_init__(self) -> None:
        size = self.library.size("scratch_size", self.shape)
        self._scratch = aligned(size)

    def run(self, x: _Bytes, y: NDArray[Any], finish: Finish | None = None) -> NDArray[Any]:
        """Fill y uint8, float32 or int32 [images, out_height, out_width, O] (int32: the sums)."""
        self.prepare(x, y, finish)()
        return y

    def prepare(
        self, x: _Bytes, y: NDArray[Any], finish: Finish | None = None
    ) -> Callable[[], None]:
        """The call of `run` with everything converted, for timing. It keeps the arrays alive."""
        shape = self.shape
        expected = (shape.images, self.out_height, self.out_width, shape.outputs)
        if y.shape != expected or not (x.flags.c_contiguous and y.flags.c_contiguous):
            raise ValueError(f"y: expected a contiguous array {expected}, got {y.shape}")
        if x.shape != (shape.images, shape.height, shape.width, shape.inputs):
            raise ValueError(f"x: got {x.shape}")
        output = c_output(TYPES[y.dtype], finish)
        arguments = (
            ctypes.byref(shape.structure()),
            _pointer(self.packed),
            _pointer(x),
            ctypes.byref(output),
            _pointer(y),
            ctypes.c_int64(0),
            ctypes.c_int64(shape.images * self.out_height),
            _pointer(self._scratch),
        )

        def call(keep: object = (x, y, finish, self)) -> None:
            self.library.call("subbyte_conv_lut16_run", *arguments)

        return call


class Library:
    """The loaded library."""

    def __init__(self, path: Path | None = None) -> None:
        self._library = ctypes.CDLL(str(path or library_path()))
        for name in ("isa", "error"):
            getattr(self._library, f"subbyte_{name}").restype = ctypes.c_char_p
        for name in ("packed_size", "scratch_size"):
            getattr(self._library, f"subbyte_conv_lut16_{name}").restype = ctypes.c_size_t

    @property
    def isa(self) -> str:
        """The level in use."""
        name: bytes | None = self._library.subbyte_isa()
        if name is None:
            raise NativeError(self.error())
        return name.decode()

    def size(self, name: str, shape: Shape) -> int:
        """``subbyte_conv_lut16_<name>``."""
        value = int(
            getattr(self._library, f"subbyte_conv_lut16_{name}")(ctypes.byref(shape.structure()))
        )
        if value == 0:
            raise NativeError(self.error())
        return value

    def pack(
        self,
        shape: Shape,
        codes: _Bytes,
        codebook: NDArray[np.int8],
        gain_codes: _Bytes | None = None,
        gains: NDArray[np.int8] | None = None,
    ) -> Lookup:
        """Pack codes and gain codes [O, T, G], codebook [books, 16, d], gains [levels]."""
        packed = aligned(self.size("packed_size", shape))
        arrays = [
            None if array is None else np.ascontiguousarray(array)
            for array in (codes, gain_codes, gains, codebook)
        ]
        self.call(
            "subbyte_conv_lut16_pack",
            ctypes.byref(shape.structure()),
            *(None if array is None else _pointer(array) for array in arrays),
            _pointer(packed),
        )
        return Lookup(self, shape, packed, *self.out_size(shape))

    def out_size(self, shape: Shape) -> tuple[int, int]:
        """Height and width of y."""
        height, width = ctypes.c_int64(), ctypes.c_int64()
        ends = (ctypes.byref(height), ctypes.byref(width))
        self.call("subbyte_out_size", ctypes.byref(shape.structure().geometry), *ends)
        return height.value, width.value

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns a status."""
        if getattr(self._library, name)(*arguments) != 0:
            raise NativeError(self.error())

    def number(self, name: str, *arguments: object) -> int:
        """Call a function that returns a size."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_size_t
        return int(function(*arguments))

    def error(self) -> str:
        """This thread's last error."""
        return str(self._library.subbyte_error().decode())


def library_path() -> Path:
    """SUBBYTE_NATIVE_LIBRARY, or the library of the installed package."""
    named = os.environ.get("SUBBYTE_NATIVE_LIBRARY")
    if named:
        return Path(named)
    return subbyte.library_path()


def aligned(size: int) -> _Bytes:
    """``size`` bytes that start at a multiple of ALIGNMENT."""
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


def c_output(kind: int, finish: Finish | None) -> ctypes.Structure:
    """``subbyte_output`` of this type. It points to the arrays of ``finish``."""
    output = structures.Output(type=kind)
    if finish is None:
        return output
    for name in ("scale", "bias"):
        setattr(output, name, getattr(finish, name).ctypes.data)
    if finish.residual is not None:
        output.residual = finish.residual.ctypes.data
    for name in ("residual_scale", "residual_zero", "zero", "low", "high"):
        setattr(output, name, getattr(finish, name))
    return output


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
