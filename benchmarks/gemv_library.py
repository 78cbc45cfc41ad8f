"""The GEMV kernels of the native library (``subbyte/gemv.h``), for tests and benchmarks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_library import TYPES, Finish, Library, NativeError, aligned, c_output
from subbyte.runtime.structures import GemvInt4, GemvLut16

_Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class LookupShape:
    """``subbyte_gemv_lut16``, field by field."""

    kind: ClassVar[str] = "lut16"
    rows: int
    inputs: int
    outputs: int
    word_length: int
    shared: bool = False
    gain_levels: int = 0
    input_zero: int = 0
    shift: int = 0

    def structure(self) -> ctypes.Structure:
        """The C structure."""
        return _filled(GemvLut16(), self)


@dataclass(frozen=True)
class UnpackShape:
    """``subbyte_gemv_int4``, field by field."""

    kind: ClassVar[str] = "int4"
    rows: int
    inputs: int
    outputs: int
    bits: int
    input_zero: int = 0

    def structure(self) -> ctypes.Structure:
        """The C structure."""
        return _filled(GemvInt4(), self)


@dataclass(frozen=True)
class Gemv:
    """A packed layer: ``run`` computes y from x."""

    library: Library
    shape: LookupShape | UnpackShape
    packed: _Bytes

    def run(
        self,
        x: _Bytes,
        y: NDArray[Any],
        finish: Finish | None = None,
        parts: list[tuple[int, int]] | None = None,
    ) -> NDArray[Any]:
        """Fill y uint8, float32 or int32 [rows, O] (int32: the sums), or these parts of O."""
        self.call(x, y, finish, parts)()
        return y

    def call(
        self,
        x: _Bytes,
        y: NDArray[Any],
        finish: Finish | None = None,
        parts: list[tuple[int, int]] | None = None,
    ) -> Callable[[], None]:
        """The call of `run` with everything converted, for timing. It keeps the arrays alive."""
        shape = self.shape
        for name, array, size in (("x", x, shape.inputs), ("y", y, shape.outputs)):
            if array.shape != (shape.rows, size) or not array.flags.c_contiguous:
                raise ValueError(f"{name}: expected contiguous [{shape.rows}, {size}]")
        scratch = aligned(_size(self.library, "scratch_size", shape))
        layer, output = shape.structure(), c_output(TYPES[y.dtype], finish)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self.packed, scratch, x, y)]
        packed, scratch_at, x_at, y_at = pointers
        prepare, run = (f"subbyte_gemv_{shape.kind}_{name}" for name in ("prepare", "run"))

        def call(keep: object = (x, y, finish, scratch, self)) -> None:
            self.library.call(prepare, ctypes.byref(layer), packed, x_at, scratch_at)
            for begin, end in parts or [(0, shape.outputs)]:
                self.library.call(
                    *(run, ctypes.byref(layer), packed, scratch_at, ctypes.byref(output), y_at),
                    *(ctypes.c_int64(begin), ctypes.c_int64(end)),
                )

        return call


def pack_lookup(
    library: Library,
    shape: LookupShape,
    codes: _Bytes,
    codebook: NDArray[np.int8],
    gain_codes: _Bytes | None = None,
    gains: NDArray[np.int8] | None = None,
) -> Gemv:
    """Pack codes and gain codes [O, G], codebook [1 or G, 16, d], gains [gain_levels]."""
    return _pack(library, shape, codes, gain_codes, gains, codebook)


def pack_unpack(
    library: Library, shape: UnpackShape, codes: _Bytes, levels: NDArray[np.int8]
) -> Gemv:
    """Pack codes [O, I] and levels [2**bits]."""
    return _pack(library, shape, codes, levels)


def block(library: Library) -> int:
    """Parts of the outputs begin at multiples of this."""
    return library.number("subbyte_gemv_block")


def _pack(library: Library, shape: LookupShape | UnpackShape, *arrays: NDArray[Any] | None) -> Gemv:
    packed = aligned(_size(library, "packed_size", shape))
    kept = [None if array is None else np.ascontiguousarray(array) for array in arrays]
    library.call(
        f"subbyte_gemv_{shape.kind}_pack",
        ctypes.byref(shape.structure()),
        *(None if array is None else ctypes.c_void_p(array.ctypes.data) for array in kept),
        ctypes.c_void_p(packed.ctypes.data),
    )
    return Gemv(library, shape, packed)


def _size(library: Library, name: str, shape: LookupShape | UnpackShape) -> int:
    size = library.number(f"subbyte_gemv_{shape.kind}_{name}", ctypes.byref(shape.structure()))
    if size == 0:
        raise NativeError(library.error())
    return size


def _filled(layer: ctypes.Structure, shape: LookupShape | UnpackShape) -> ctypes.Structure:
    for name, *_ in layer._fields_:
        setattr(layer, name, int(getattr(shape, name)))
    return layer
