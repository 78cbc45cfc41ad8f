"""One row a form: the contract, blank, graph, layer and fuzz tests run over all of them.

Adding a method: add its rows here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from subbyte.methods import (
    CodedWeight,
    MethodOptions,
    WeightShape,
    encode_target,
    stored_bytes,
)
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions


@dataclass(frozen=True)
class Case:
    """A form of a method, and what to expect of it.

    ``exact``: the stored bytes depend on the shape alone; otherwise they are a limit.
    ``weights_only``: a paper's procedure that does not look at the moments. ``one_scale``:
    all outputs have the same, and an output of zeros is one of words that serve others too.
    """

    name: str
    options: MethodOptions
    exact: bool = True
    weights_only: bool = False
    one_scale: bool = False

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.options.method

    def encode(
        self, weight: torch.Tensor, moments: torch.Tensor, shape: WeightShape, seed: int
    ) -> CodedWeight:
        """Code a weight [O, T, I] under moments."""
        return encode_target(weight, moments, shape, self.options, seed)

    def stored_bytes(self, shape: WeightShape) -> int:
        """The bytes that it should take, or take at most."""
        return stored_bytes(shape, self.options)

    def code(self, shape: WeightShape, seed: int = 1) -> CodedWeight:
        """A random weight of about one over the root of what an output reads."""
        n = shape.taps * shape.inputs
        rng = np.random.default_rng(seed)
        weight = rng.standard_normal((shape.outputs, shape.taps, shape.inputs)) / np.sqrt(n)
        moments = torch.eye(n).expand(shape.groups, n, n)
        return self.encode(torch.from_numpy(weight).float(), moments, shape, 0)


CASES = [
    Case("product-d2-k16-g0", ProductOptions(2)),
    Case("product-d3-k16-g1", ProductOptions(3, gain=1)),
    Case("product-d4-k16-g0", ProductOptions(4)),
    Case("product-d4-k16-g2", ProductOptions(4, gain=2)),
    Case("product-d4-k16-g3-shared", ProductOptions(4, gain=3, shared=True)),
    Case("product-d6-k16-g4", ProductOptions(6, gain=4)),
    Case("product-d8-k128-g0", ProductOptions(8, words=128)),
    Case("product-d6-k128-g0", ProductOptions(6, words=128)),
    Case("product-d4-k32-g0", ProductOptions(4, words=32)),
    Case("product-d8-k256-g0-shared", ProductOptions(8, words=256, shared=True)),
    Case("product-d1-k16-g0", ProductOptions(1)),
    Case("product-paper-d3-k32", ProductOptions(3, words=32, procedure="paper"), one_scale=True),
    Case(
        "product-paper-plain-d4-k32",
        ProductOptions(4, words=32, procedure="paper-plain"),
        weights_only=True,
        one_scale=True,
    ),
    Case("scalar-2", ScalarOptions(2)),
    Case("scalar-3", ScalarOptions(3)),
    Case("scalar-4", ScalarOptions(4)),
    Case("scalar-8", ScalarOptions(8)),
    Case("ternary-0.5", TernaryOptions(rank_ratio=0.5)),
    Case("ternary-1", TernaryOptions(rank_ratio=1)),
    Case("ternary-2", TernaryOptions(rank_ratio=2)),
    Case("composite-j1", CompositeOptions(planes=1), exact=False),
    Case("composite-j3", CompositeOptions(planes=3), exact=False),
    Case("composite-j6", CompositeOptions(planes=6), exact=False),
    Case("composite-6-bits", CompositeOptions(bits=6), exact=False),
    Case(
        "composite-paper",
        CompositeOptions(procedure="paper", planes=6, bottleneck=0.5),
        exact=False,
        weights_only=True,
    ),
    Case("binary-column1-corrected", BinaryOptions(1)),
    Case("binary-image3-corrected", BinaryOptions(3, "image")),
    Case("binary-pixel2-paper", BinaryOptions(2, "pixel", "paper"), weights_only=True),
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
