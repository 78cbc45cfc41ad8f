"""Binary convolutions of the native benchmark: random signs, scales per column as in HORQ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native.cases import COPIES, X_SCALE, Y_ZERO, Layer
from benchmarks.native.timing import in_turn
from subbyte.runtime.native.client import Finish, NativeLibrary
from subbyte.runtime.native.structures import ConvBinary, Geometry

ORDERS = {f"binary, order {order}": order for order in (1, 2)}
# x has both signs around it.
X_ZERO = 40
PER_COLUMN = 0  # SUBBYTE_PER_COLUMN
_TOLERANCE = 1e-3


def binary(
    library: NativeLibrary, layer: Layer, x: NDArray[np.uint8], order: int
) -> Callable[[], Any]:
    """COPIES of the layer on x; the first has been checked against `expected`."""
    rng = np.random.default_rng(order)
    shape = ConvBinary(
        geometry(layer), order=order, scales=PER_COLUMN, input_zero=X_ZERO, input_scale=X_SCALE
    )
    ones, zeros = (np.full(layer.outputs, value, np.float32) for value in (1, 0))
    calls = []
    for copy in range(COPIES):
        negative = rng.random((layer.outputs, layer.kernel**2, layer.inputs)) < 0.5
        packed = library.pack(shape, np.packbits(negative.ravel(), bitorder="little"))
        if copy == 0:
            y = packed.run(x, np.float32, Finish(ones, zeros))
            _check(layer, x, negative, order, y[0])
        scale = ones * np.float32(40 / max(float(y.std()), 1e-6))
        finish = Finish(scale, zeros, zero=Y_ZERO)
        calls.append(packed.prepare(x, np.zeros(y.shape, np.uint8), finish))
    return in_turn(calls)


def geometry(layer: Layer) -> Geometry:
    """The structure of a layer."""
    pad = layer.kernel // 2
    return Geometry(
        *(1, layer.size, layer.size, layer.inputs, layer.outputs, 1),
        *((layer.kernel, layer.kernel), (1, 1), (1, 1), (pad, pad, pad, pad)),
    )


def expected(
    layer: Layer, x: NDArray[np.uint8], negative: NDArray[np.bool_], order: int, row: int, col: int
) -> NDArray[np.float64]:
    """The sums of conv_binary.h at one output position, for all outputs, in double precision."""
    k, pad = layer.kernel, layer.kernel // 2
    values = (x[0].astype(np.float64) - X_ZERO) * np.float32(X_SCALE)
    padded = np.pad(values, ((pad, pad), (pad, pad), (0, 0)))
    rest = padded[row : row + k, col : col + k].ravel()
    weights = np.where(negative.reshape(layer.outputs, -1), -1.0, 1.0)
    sums = np.zeros(layer.outputs)
    for _ in range(order):
        beta, signs = np.abs(rest).mean(), np.where(rest < 0, -1.0, 1.0)
        sums += beta * (weights @ signs)
        rest = rest - beta * signs
    return sums


def _check(
    layer: Layer, x: NDArray[np.uint8], negative: NDArray[np.bool_], order: int, y: NDArray[Any]
) -> None:
    last, middle = layer.size - 1, layer.size // 2
    for row, col in ((0, 0), (middle, middle), (last, middle), (middle, last)):
        wanted = expected(layer, x, negative, order, row, col)
        apart = np.linalg.norm(y[row, col] - wanted) / np.linalg.norm(wanted)
        if not apart < _TOLERANCE:
            raise SystemExit(
                f"binary, order {order}: {layer.name} differs by {apart:.2g} of its size"
            )
