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
    book = random_book(rng, groups, options)
    grid = (layer.outputs, shape.taps, groups)
    coded = [
        form.pack(
            shape,
            options,
            rng.integers(0, 16, grid),
            rng.integers(0, 2**options.gain, grid),
            book,
            np.full(layer.outputs, 0.01, np.float32),
        )
        for _ in range(COPIES)
    ]
    x = random_x((1, layer.size, layer.size, layer.inputs))
    weight = form.decode(coded[0]).astype(np.float64)
    spread = float(np.sqrt((weight**2).sum((1, 2)).mean() * (x.astype(float) ** 2).mean()))
    y_scale = X_SCALE * 0.01 * spread / 40
    return Case(layer, options, coded, x, y_scale)


def random_book(rng: np.random.Generator, groups: int, options: ProductOptions) -> NDArray[np.int8]:
    """Words near the limits of the format, int8 [groups, 16, d]."""
    words = rng.standard_normal((groups, 16, options.group))
    part = max(np.maximum(words, 0).sum(2).max(), np.maximum(-words, 0).sum(2).max())
    size = min(form.PART_LIMIT / part, form.WORD_LIMIT / np.abs(words).max())
    return np.fix(words * size).astype(np.int8)


def random_x(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """As after a ReLU: half of it zeros."""
    x = np.random.default_rng(shape[-1]).normal(0, 60, shape)
    return np.clip(x, 0, 255).astype(np.uint8)


def table_shift(book: NDArray[np.int8], x: NDArray[np.uint8]) -> int:
    """The least shift at which one entry in a thousand or fewer saturates."""
    words = book.astype(np.int64)
    rows = x.reshape(-1, *words.shape[::2])[:200].astype(np.int64)
    products = np.einsum("pgd,gkd->pgk", rows, words)
    within = [float((np.abs(products) >> shift > 127).mean()) <= 1e-3 for shift in range(9)]
    return within.index(True)


def kernel_weight(coded: CodedWeight, layer: Layer) -> NDArray[np.int8]:
    """Decoded weights int8 [O, I, k, k]."""
    weight = form.decode(coded).transpose(0, 2, 1)
    return np.ascontiguousarray(
        weight.reshape(layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    )
