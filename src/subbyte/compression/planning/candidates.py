"""The ways a layer may be coded, each with its bytes and its predicted harm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from subbyte.compression.calibration.statistics import LayerStatistics
from subbyte.compression.config import CompressOptions
from subbyte.graph.network import Unpacked, Weighted
from subbyte.graph.weight_layout import traits_of
from subbyte.methods import METHODS, Found, MethodOptions, SearchProblem, stored_bytes
from subbyte.methods import trained_options as trained
from subbyte.methods.fallback import BITS, grids

TINY_WEIGHTS = 1024
TINY_INPUTS = 16
FEW_CHANNELS = 4
OUTPUT_WEIGHT = 4.0


@dataclass(frozen=True)
class Candidate:
    """``harm``: the predicted error of the layer's output over its variance. ``seconds``: the
    predicted time of one sample through the layer, None where there are no timings."""

    options: MethodOptions
    bytes: int
    harm: float
    seconds: float | None = None


def keeps_eight_bits(layer: Weighted) -> bool:
    """Depthwise layers, tiny ones, and layers that read three or four input channels."""
    return too_small(layer) or layer.shape.inputs <= FEW_CHANNELS


def too_small(layer: Weighted) -> bool:
    """Depthwise layers and tiny ones."""
    shape = layer.shape
    return layer.depthwise or shape.count < TINY_WEIGHTS or shape.inputs * shape.taps < TINY_INPUTS


def can_code(method: str, layer: Weighted) -> bool:
    """Whether ``method`` can code the layer's weight, of any size.

    A table of which single rows are read needs a method that unpacks single rows.
    """
    return not (isinstance(layer, Unpacked) and layer.rows and METHODS[method].row_nodes is None)


def layer_candidates(
    layer: Weighted,
    weight: Tensor,
    data: LayerStatistics,
    options: CompressOptions,
    seed: int,
) -> list[Candidate]:
    """All ways one layer may be coded by the allowed methods, weight [O, T, I]; and 8 bits.

    For an unpacked weight also scalar grids, as none of the others may fit it: the matrices of
    a batch are often too small for a codebook each.
    """
    if layer.binarization is not None:
        return _priced(layer, data, [Found(trained(layer.binarization), 0.0)])
    problem = SearchProblem(traits_of(layer, lambda: weight), weight, data.blocks, seed)
    if keeps_eight_bits(layer):
        return _priced(layer, data, grids(problem))
    found: list[Found] = []
    for choice in options.choices:
        if can_code(choice.method, layer):
            found += METHODS[choice.method].search(problem, choice.options)
    if isinstance(layer, Unpacked):
        known = {each.options for each in found}
        found += [each for each in grids(problem, BITS[:-1]) if each.options not in known]
    return _priced(layer, data, [*found, *grids(problem, BITS[-1:])])


def eight_bit_candidates(layer: Weighted, weight: Tensor, data: LayerStatistics) -> list[Candidate]:
    """8 bits alone."""
    problem = SearchProblem(traits_of(layer, lambda: weight), weight, data.blocks, 0)
    return _priced(layer, data, grids(problem, BITS[-1:]))


def _priced(layer: Weighted, data: LayerStatistics, found: Iterable[Found]) -> list[Candidate]:
    energy = max(data.energy, 1e-30)
    return [
        Candidate(each.options, stored_bytes(layer.shape, each.options), each.error / energy)
        for each in found
    ]


def balanced(weight: Tensor, data: LayerStatistics) -> tuple[Tensor, LayerStatistics]:
    """Weight and statistics of an output layer, as its error is to be counted.

    Every output counts relative to its own variance, and all of them `OUTPUT_WEIGHT` times as much
    as a layer inside: no later layer makes good an error here.
    """
    spread = data.variance.sqrt()
    spread = spread.clamp_min(1e-3 * float(spread.max()) + 1e-20)
    share = torch.full_like(spread, 1 / OUTPUT_WEIGHT)
    return weight / spread[:, None, None], replace(data, variance=share)
