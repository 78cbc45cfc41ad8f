"""The layers that the native benchmark measures: random product codes, and what goes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.product import form
from subbyte.methods.product.form import ProductOptions

COPIES = 4
X_SCALE, Y_ZERO = 0.02, 128


@dataclass(frozen=True)
class Layer:
    """A convolution without stride, padded to its own size."""

    inputs: int
    outputs: int
    kernel: int
    size: int

    @property
    def name(self) -> str:
        """E.g. ``3x3 64->64@56``."""
        return f"{self.kernel}x{self.kernel} {self.inputs}->{self.outputs}@{self.size}"

    @property
    def macs(self) -> int:
        """Multiply-adds of the layer."""
        return self.inputs * self.outputs * self.kernel**2 * self.size**2


@dataclass(frozen=True)
class Case:
    """A layer in a format: COPIES of its weights, one x, and y's scale."""

    layer: Layer
    options: ProductOptions
    coded: list[CodedWeight]
    x: NDArray[np.uint8]
    y_scale: float


def make_case(layer: Layer, options: ProductOptions) -> Case:
    """Random codes of a random codebook near its limits, and x as after a ReLU."""
    rng = np.random.default_rng(layer.macs)
    shape = WeightShape(layer.outputs, layer.kernel**2, layer.inputs)
    groups = layer.inputs // options.group
    words = rng.standard_normal((groups, 16, options.group))
    part = max(np.maximum(words, 0).sum(2).max(), np.maximum(-words, 0).sum(2).max())
    book = np.fix(words * min(form.PART_LIMIT / part, form.WORD_LIMIT / np.abs(words).max()))
    grid = (layer.outputs, shape.taps, groups)
    coded = [
        form.pack(
            shape,
            options,
            rng.integers(0, 16, grid),
            rng.integers(0, 2**options.gain, grid),
            book.astype(np.int8),
            np.full(layer.outputs, 0.01, np.float32),
        )
        for _ in range(COPIES)
    ]
    x = np.maximum(rng.normal(0, 60, (1, layer.size, layer.size, layer.inputs)), 0)
    weight = form.decode(coded[0]).astype(np.float64)
    spread = float(np.sqrt((weight**2).sum((1, 2)).mean() * (x**2).mean()))
    y_scale = X_SCALE * 0.01 * spread / 40
    return Case(layer, options, coded, np.minimum(x, 255).astype(np.uint8), y_scale)


def table_shift(case: Case) -> int:
    """The least shift at which one entry in a thousand or fewer saturates."""
    book = case.coded[0].inputs["codebook"].astype(np.int64)
    rows = case.x.reshape(-1, len(book), book.shape[2])[:200].astype(np.int64)
    products = np.einsum("pgd,gkd->pgk", rows, book)
    within = [float((np.abs(products) >> shift > 127).mean()) <= 1e-3 for shift in range(9)]
    return within.index(True)


def kernel_weight(coded: CodedWeight, layer: Layer) -> NDArray[np.int8]:
    """Decoded weights int8 [O, I, k, k]."""
    weight = form.decode(coded).transpose(0, 2, 1)
    return np.ascontiguousarray(
        weight.reshape(layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    )
