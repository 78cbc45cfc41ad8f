"""One row a form: the shared tests below run over all of them.

Adding a method: add its rows here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.binary import encode as binary_encode
from subbyte.methods.binary import form as binary_form
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite import encode as composite_encode
from subbyte.methods.composite import form as composite_form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product import encode as product_encode
from subbyte.methods.product import form as product_form
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar import encode as scalar_encode
from subbyte.methods.scalar import form as scalar_form
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary import encode as ternary_encode
from subbyte.methods.ternary import form as ternary_form
from subbyte.methods.ternary.form import TernaryOptions, rank_of


@dataclass(frozen=True)
class Case:
    """A form of a method: how to encode with it and what it should take, or take at most.

    ``weights_only``: a paper's procedure that does not look at the moments. ``one_scale``:
    all outputs have the same, and an output of zeros is one of words that serve others too.
    """

    name: str
    encode: Callable[[torch.Tensor, torch.Tensor, WeightShape, int], CodedWeight]
    stored_bytes: Callable[[WeightShape], int]
    exact: bool = True
    weights_only: bool = False
    one_scale: bool = False


def product(options: ProductOptions) -> Case:
    """A product case."""
    shared = "-shared" if options.shared else ""
    published = "" if options.procedure == "corrected" else f"{options.procedure}-"
    return Case(
        f"product-{published}d{options.group}-k{options.words}-g{options.gain}{shared}",
        lambda w, h, shape, seed: product_encode.encode(w, h, shape, options, seed),
        lambda shape: product_form.stored_bytes(shape, options),
        weights_only=options.procedure == "paper-plain",
        one_scale=options.procedure != "corrected",
    )


def scalar(bits: int) -> Case:
    """A scalar case."""
    options = ScalarOptions(bits)
    return Case(
        f"scalar-{bits}",
        lambda w, h, shape, seed: scalar_encode.encode(w, h, shape, options, seed),
        lambda shape: scalar_form.stored_bytes(shape, options),
    )


def ternary(ratio: float) -> Case:
    """A ternary case: ``ratio`` * min(outputs, inputs) terms."""

    def options(shape: WeightShape) -> TernaryOptions:
        return TernaryOptions(rank_of(shape, ratio))

    return Case(
        f"ternary-{ratio:g}",
        lambda w, h, shape, seed: ternary_encode.encode(w, h, shape, options(shape), seed),
        lambda shape: ternary_form.stored_bytes(shape, options(shape)),
    )


def composite(options: CompositeOptions, name: str) -> Case:
    """A composite case."""
    return Case(
        f"composite-{name}",
        lambda w, h, shape, seed: composite_encode.encode(w, h, shape, options, seed),
        lambda shape: composite_form.most_bytes(shape, options),
        exact=False,
        weights_only=options.procedure == "paper",
    )


def binary(options: BinaryOptions) -> Case:
    """A binary case."""
    return Case(
        f"binary-{options.binarization.variant.lower()}-{options.procedure}",
        lambda w, h, shape, seed: binary_encode.encode(w, h, shape, options, seed),
        lambda shape: binary_form.stored_bytes(shape, options),
        weights_only=options.procedure == "paper",
    )


CASES = [
    product(ProductOptions(2)),
    product(ProductOptions(3, gain=1)),
    product(ProductOptions(4)),
    product(ProductOptions(4, gain=2)),
    product(ProductOptions(4, gain=3, shared=True)),
    product(ProductOptions(6, gain=4)),
    product(ProductOptions(8, words=128)),
    product(ProductOptions(6, words=128)),
    product(ProductOptions(4, words=32)),
    product(ProductOptions(8, words=256, shared=True)),
    product(ProductOptions(1)),
    product(ProductOptions(3, words=32, procedure="paper")),
    product(ProductOptions(4, words=32, procedure="paper-plain")),
    scalar(2),
    scalar(3),
    scalar(4),
    scalar(8),
    ternary(0.5),
    ternary(1),
    ternary(2),
    composite(CompositeOptions(planes=1), "j1"),
    composite(CompositeOptions(planes=3), "j3"),
    composite(CompositeOptions(planes=6), "j6"),
    composite(CompositeOptions(bits=6), "6-bits"),
    composite(CompositeOptions(procedure="paper", planes=6, bottleneck=0.5), "paper"),
    binary(BinaryOptions(1)),
    binary(BinaryOptions(3, "image")),
    binary(BinaryOptions(2, "pixel", "paper")),
]

SHAPES = [
    WeightShape(12, 9, 8),
    WeightShape(7, 1, 13),
    WeightShape(8, 4, 5, groups=2),
    WeightShape(6, 9, 1, groups=6),
]


def random_problem(shape: WeightShape, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight [O, T, I] and positive definite moments [groups, T*I, T*I]."""
    rng = np.random.default_rng(seed)
    n = shape.taps * shape.inputs
    weight = rng.standard_normal((shape.outputs, shape.taps, shape.inputs)) * 0.1
    mixing = rng.standard_normal((shape.groups, n, n)) / np.sqrt(n) + np.eye(n)
    moments = mixing @ mixing.transpose(0, 2, 1) + 0.05 * np.eye(n)
    return torch.from_numpy(weight).float(), torch.from_numpy(moments).float()


def relative_error(weight: torch.Tensor, decoded: np.ndarray, moments: torch.Tensor) -> float:
    """tr(E H E^T) / tr(W H W^T)."""
    groups = len(moments)
    rows = weight.reshape(groups, -1, moments.shape[1]).double()
    error = rows - torch.from_numpy(decoded).reshape(rows.shape).double()
    h = moments.double()
    return float(((error @ h) * error).sum() / ((rows @ h) * rows).sum())
