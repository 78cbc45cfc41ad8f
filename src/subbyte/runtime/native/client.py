"""The one client of the native library's C interface: for timings, tests and benchmarks.

A layer is one of the structures. ``pack`` puts its weights into the layout of the kernel that the
structure belongs to, and gives a layer that computes y from x.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import OptionError
from subbyte.runtime.library import isa_of, open_library
from subbyte.runtime.native.structures import Conv, Gemv, Geometry, Output, Weights

ALIGNMENT = 64
TYPES = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.int32): 2}
Layer = Conv | Gemv

_Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Finish:
    """``subbyte_output``: scale and bias float32 [O], the residual uint8 like y, and bounds."""

    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    residual: _Bytes | None = None
    residual_scale: float = 0.0
    residual_zero: int = 0
    zero: int = 0
    low: int = 0
    high: int = 255


class NativeLibrary:
    """The loaded library: the installed one, or the file at ``path``. ``isa``: its level.

    Raises:
        MissingDependencyError: no library, or one that cannot be loaded.
        OptionError: ``SUBBYTE_ISA`` names a level that this CPU or build does not have.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._library = open_library(path)
        self._library.subbyte_error.restype = ctypes.c_char_p
        self._library.subbyte_kernel_of.restype = ctypes.c_char_p
        self.isa = isa_of(self._library)

    def out_size(self, geometry: Geometry) -> tuple[int, int]:
        """Height and width of y.

        Raises:
            OptionError: no layer has this geometry.
        """
        height, width = ctypes.c_int64(), ctypes.c_int64()
        self.call("subbyte_out_size", geometry, ctypes.byref(height), ctypes.byref(width))
        return height.value, width.value

    def kernel_of(self, geometry: Geometry, weights: Weights) -> str:
        """Which kernel the operators run a layer with: ``conv_int8`` ... (``subbyte/choice.h``).

        Raises:
            OptionError: no layer is like that.
        """
        name = self._library.subbyte_kernel_of(ctypes.byref(geometry), ctypes.byref(weights))
        if name is None:
            raise self._failed()
        return str(name.decode())

    def pack(self, layer: Layer, *arrays: NDArray[Any] | None) -> PackedLayer:
        """Pack the arrays that ``<prefix>_pack`` takes, in its order.

        Raises:
            OptionError: a layer or arrays that the kernel refuses.
        """
        packed = aligned(self.size(layer, "packed_size"))
        kept = [None if array is None else np.ascontiguousarray(array) for array in arrays]
        pointers = (None if array is None else pointer(array) for array in kept)
        self.call(f"{layer.prefix}_pack", layer, *pointers, pointer(packed))
        return PackedLayer(self, layer, packed)

    def size(self, layer: Layer, name: str) -> int:
        """``<prefix>_<name>``: packed_size or scratch_size.

        Raises:
            OptionError: a layer that the kernel refuses.
        """
        function = getattr(self._library, f"{layer.prefix}_{name}")
        function.restype = ctypes.c_size_t
        size = int(function(ctypes.byref(layer)))
        if size == 0:
            raise self._failed()
        return size

    def call(self, name: str, layer: ctypes.Structure, *arguments: object) -> None:
        """Call a function that returns a status.

        Raises:
            OptionError: the function refuses its arguments.
        """
        if getattr(self._library, name)(ctypes.byref(layer), *arguments) != 0:
            raise self._failed()

    def _failed(self) -> OptionError:
        return OptionError("native kernels", got=self._library.subbyte_error().decode())


@dataclass(frozen=True)
class PackedLayer:
    """A layer with its packed weights."""

    library: NativeLibrary
    layer: Layer
    weights: _Bytes

    def copy(self) -> PackedLayer:
        """The same at another place in memory."""
        weights = aligned(self.weights.size)
        weights[:] = self.weights
        return PackedLayer(self.library, self.layer, weights)

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of x and y: [images, height, width, channels].

        Of a GEMM of few rows: [rows, channels].
        """
        layer = self.layer
        if isinstance(layer, Gemv):
            return (layer.rows, layer.inputs), (layer.rows, layer.outputs)
        g: Geometry = layer.geometry
        out = self.library.out_size(g)
        return (g.images, g.height, g.width, g.inputs), (g.images, *out, g.outputs)

    def run(
        self, x: NDArray[Any], dtype: type[np.generic], finish: Finish | None = None
    ) -> NDArray[Any]:
        """y of this dtype: uint8, float32, or int32 for the sums alone."""
        y = np.zeros(self.shapes()[1], dtype)
        self.prepare(x, y, finish)()
        return y

    def prepare(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        finish: Finish | None = None,
        by_outputs: bool | None = None,
        parts: Sequence[tuple[int, int]] | None = None,
    ) -> Callable[[], None]:
        """A call that fills y, everything converted, for timing. It keeps the arrays alive.

        ``by_outputs``: a prepare function, then parts of the outputs; else parts of the rows of
        all images. GEMMs of few rows have the former alone, of convolutions conv_lut256 has both.
        """
        for name, array, shape in zip(("x", "y"), (x, y), self.shapes(), strict=True):
            if array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(f"{name}: expected a contiguous array {shape}, got {array.shape}")
        output = c_output(TYPES[y.dtype], finish)
        scratch = aligned(self.library.size(self.layer, "scratch_size"))
        kept = (x, y, finish, scratch, self)
        gemv = isinstance(self.layer, Gemv)
        whole = y.shape[-1] if gemv or by_outputs else math.prod(y.shape[:2])
        ends = [tuple(map(ctypes.c_int64, part)) for part in parts or [(0, whole)]]
        prefix = self.layer.prefix
        layer, weights, into = self.layer, pointer(self.weights), pointer(y)
        source, work, out = pointer(x), pointer(scratch), ctypes.byref(output)
        call = self.library.call

        def by_row(keep: object = kept) -> None:
            for end in ends:
                call(f"{prefix}_run", layer, weights, source, out, into, *end, work)

        def by_output(keep: object = kept) -> None:
            call(f"{prefix}_prepare", layer, weights, source, work)
            for end in ends:
                call(run, layer, weights, work, out, into, *end)

        run = f"{prefix}_run" if gemv else f"{prefix}_run_outputs"
        return by_output if gemv or by_outputs else by_row


def aligned(size: int) -> _Bytes:
    """``size`` bytes that start at a multiple of ALIGNMENT."""
    block = np.zeros(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size]


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    """A pointer to the array's first element."""
    return ctypes.c_void_p(array.ctypes.data)


def c_output(kind: int, finish: Finish | None) -> Output:
    """``subbyte_output`` of this type. It points to the arrays of ``finish``."""
    output = Output(type=kind)
    if finish is None:
        return output
    for name in ("scale", "bias"):
        setattr(output, name, getattr(finish, name).ctypes.data)
    if finish.residual is not None:
        output.residual = finish.residual.ctypes.data
    for name in ("residual_scale", "residual_zero", "zero", "low", "high"):
        setattr(output, name, getattr(finish, name))
    return output
