"""The structures of the library's C interface, field by field (``native/include/subbyte``)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, ClassVar


class Geometry(ctypes.Structure):
    """``subbyte_geometry``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width")),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "groups")),
        *((name, ctypes.c_int64 * 2) for name in ("kernel", "strides", "dilations")),
        ("pads", ctypes.c_int64 * 4),
    )


class Conv(ctypes.Structure):
    """A convolution: the fields of its geometry are its own too.

    ``prefix``: the beginning of its functions' names.
    """

    prefix: ClassVar[str]
    _anonymous_ = ("geometry",)
    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("geometry", Geometry),)


class ConvInt8(Conv):
    """``subbyte_conv_int8``."""

    prefix = "subbyte_conv_int8"
    _fields_ = (("input_zero", ctypes.c_int32),)


class ConvInt4(Conv):
    """``subbyte_conv_int4``."""

    prefix = "subbyte_conv_int4"
    _fields_ = (("input_zero", ctypes.c_int32), ("bits", ctypes.c_int32))


class ConvLut16(Conv):
    """``subbyte_conv_lut16``."""

    prefix = "subbyte_conv_lut16"
    _fields_ = (
        ("word_length", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("shared", "gain_levels", "input_zero", "shift")),
    )


class ConvLut256(Conv):
    """``subbyte_conv_lut256``."""

    prefix = "subbyte_conv_lut256"
    _fields_ = (
        ("word_length", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("words", "shared", "gain_levels")),
        *((name, ctypes.c_int32) for name in ("input_zero", "shift")),
    )


class ConvBinary(Conv):
    """``subbyte_conv_binary``."""

    prefix = "subbyte_conv_binary"
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("order", "scales", "input_type", "input_zero")),
        ("input_scale", ctypes.c_float),
    )


class Gemv(ctypes.Structure):
    """A GEMM of few rows."""

    prefix: ClassVar[str]
    rows: int
    inputs: int
    outputs: int


class GemvLut16(Gemv):
    """``subbyte_gemv_lut16``."""

    prefix = "subbyte_gemv_lut16"
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs", "word_length")),
        *((name, ctypes.c_int32) for name in ("shared", "gain_levels", "input_zero", "shift")),
    )


class GemvInt4(Gemv):
    """``subbyte_gemv_int4``."""

    prefix = "subbyte_gemv_int4"
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "inputs", "outputs")),
        *((name, ctypes.c_int32) for name in ("bits", "input_zero")),
    )


class Weights(ctypes.Structure):
    """``subbyte_weights``: how a file has the weights of a layer."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("format", "linear", "table_shift", "bits")),
        *((name, ctypes.c_int64) for name in ("words", "word_length", "gain_levels")),
    )


INT8, WORDS, LEVELS, SIGNS = range(4)  # SUBBYTE_WEIGHTS_...


class Output(ctypes.Structure):
    """``subbyte_output``."""

    _fields_ = (
        ("type", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("scale", "bias", "residual")),
        ("residual_scale", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("residual_zero", "zero", "low", "high")),
        ("inner_scale", ctypes.c_float),
        ("inner_zero", ctypes.c_int32),
        ("table", ctypes.c_void_p),
    )
