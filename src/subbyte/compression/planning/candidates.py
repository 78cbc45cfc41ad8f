"""The ways a layer may be coded, each with its bytes and its predicted harm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.compression.calibration.statistics import BLOCK, LayerStatistics
from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.layer import LayerOptions, stored_bytes
from subbyte.compression.planning.plan_file import trained_options
from subbyte.graph.functions.unpacked import has_rows
from subbyte.graph.network import Unpacked, Weighted
from subbyte.graph.weight_layout import has_binary_form
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite import encode as composite_encode
from subbyte.methods.composite import form as composite_form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import GAIN_UNIT, GROUPS, ProductOptions, most_words, sub_columns
from subbyte.methods.product.kmeans import entries_of, kmeans, nearest
from subbyte.methods.scalar.form import BITS, ScalarOptions
from subbyte.methods.ternary.decomposition import decompose
from subbyte.methods.ternary.form import MOST_RATIO, TernaryOptions, rank_of, smaller_side

TINY_WEIGHTS = 1024
TINY_INPUTS = 16
FEW_CHANNELS = 4
POINTS = 1024
SHARED_POINTS = 4096
SAMPLED_GROUPS = 16
STEPS = 5
OUTPUT_WEIGHT = 4.0
DEFAULT_PRODUCT = ProductOptions(group=4, words=16, gain=3)
DEFAULT_SCALAR = ScalarOptions(bits=4)
DEFAULT_RANK_RATIO = 1.0
# The paper: 5 to 8; of these what int8 allows.
DEFAULT_PLANES = {None: 4, "corrected": 4, "paper": 6}
COMPOSITE_STEPS = 24
# Fitted levels take a little more than rounded ones; a layer never takes more than its limit.
COMPOSITE_SPARE = 1.01
RATIO_STEP = 1 / 8
# Below it the factors lose most of a layer: more is gained by taking bits from the layers
# that are kept at 8.
LEAST_RATIO = 1 / 2
SAMPLED_OUTPUTS = 48
# What descent under the whole of H leaves, as a power of what the greedy cycle leaves:
# 1.5 to 2.2 over the layers and ranks of ResNet-20.
GREEDY_POWER = 1.8


@dataclass(frozen=True)
class Candidate:
    """``harm``: the predicted error of the layer's output over its variance. ``seconds``: the
    predicted time of one sample through the layer, None where there are no timings."""

    options: LayerOptions
    bytes: int
    harm: float
    seconds: float | None = None


def keeps_eight_bits(layer: Weighted) -> bool:
    """Depthwise layers, tiny ones, and those that read three or four input channels."""
    return too_small(layer) or layer.shape.inputs <= FEW_CHANNELS


def too_small(layer: Weighted) -> bool:
    """Depthwise layers and tiny ones."""
    shape = layer.shape
    return layer.depthwise or shape.count < TINY_WEIGHTS or shape.inputs * shape.taps < TINY_INPUTS


def methods_for(layer: Weighted, options: CompressOptions) -> tuple[str, ...]:
    """The allowed methods that a weight can be coded with; for an unpacked one also scalar, as
    none of the others may fit it.

    A table of which single rows are read takes those that unpack single rows. The matrices of
    a batch are often too small for a codebook each.
    """
    if not isinstance(layer, Unpacked):
        return options.allowed
    fit = [
        method
        for method in options.allowed
        if method != "binary" and (not layer.rows or has_rows(method))
    ]
    return tuple(dict.fromkeys([*fit, "scalar"]))


def product_forms(layer: Weighted, options: CompressOptions) -> list[ProductOptions]:
    """All product forms the options allow for this layer.

    Of ``options.words``, as many as the layer's sub-columns fill.
    """
    least = options.group or min(GROUPS)
    words = min(options.words or DEFAULT_PRODUCT.words, most_words(sub_columns(layer.shape)))
    gains = range(5) if options.gain is None else (options.gain,)
    sharings = (False, True) if layer.shape.groups == 1 else (False,)
    return [
        ProductOptions(group, words, gain, shared)
        for group in sorted({least, *GROUPS})
        if least <= group <= layer.shape.inputs or group == least
        for gain in gains
        for shared in sharings
    ]


def layer_candidates(
    layer: Weighted,
    weight: Tensor,
    data: LayerStatistics,
    options: CompressOptions,
    seed: int,
) -> list[Candidate]:
    """All ways one layer may be coded by the allowed methods, weight [O, T, I]; and 8 bits."""
    if layer.binarization is not None:
        return binary_candidates(layer, weight, data, options)
    if keeps_eight_bits(layer):
        return scalar_candidates(layer, weight, data, BITS)
    found: list[Candidate] = []
    for method in methods_for(layer, options):
        if method == "product":
            found += product_candidates(layer, weight, data, options, seed)
        elif method == "scalar":
            found += scalar_candidates(layer, weight, data, BITS[:-1])
        elif method == "ternary":
            found += ternary_candidates(layer, weight, data, options, seed)
        elif method == "binary":
            found += binary_candidates(layer, weight, data, options)
        else:
            found += composite_candidates(layer, weight, data, options)
    return found + scalar_candidates(layer, weight, data, BITS[-1:])


def product_candidates(
    layer: Weighted, weight: Tensor, data: LayerStatistics, options: CompressOptions, seed: int
) -> list[Candidate]:
    """All product forms that the options allow."""
    found = []
    for form in product_forms(layer, options):
        rng = torch.Generator(device=weight.device).manual_seed(seed)
        error = product_error(layer, weight, data, form, rng)
        found.append(_candidate(layer, form, error, data))
    return found


def scalar_candidates(
    layer: Weighted, weight: Tensor, data: LayerStatistics, widths: Sequence[int]
) -> list[Candidate]:
    """Grids of so many bits."""
    forms = [ScalarOptions(bits) for bits in widths]
    return [_candidate(layer, f, scalar_error(layer, weight, data, f), data) for f in forms]


def _candidate(
    layer: Weighted, form: LayerOptions, error: float, data: LayerStatistics
) -> Candidate:
    return Candidate(form, stored_bytes(layer, form), error / max(data.energy, 1e-30))


def ternary_candidates(
    layer: Weighted, weight: Tensor, data: LayerStatistics, options: CompressOptions, seed: int
) -> list[Candidate]:
    """Ranks from half of min(outputs, inputs), in steps of an eighth of it."""
    shape = layer.shape
    ratios = np.arange(LEAST_RATIO, MOST_RATIO + RATIO_STEP, RATIO_STEP)
    ranks = sorted({rank_of(shape, float(ratio), options.rank) for ratio in ratios})
    curve = ternary_curve(layer, weight, data, seed)
    places = torch.linspace(0, MOST_RATIO, len(curve)).numpy()
    found = []
    for rank in ranks:
        error = float(np.interp(rank / smaller_side(shape), places, curve))
        found.append(_candidate(layer, TernaryOptions(rank), error, data))
    return found


def may_be_binary(layer: Weighted) -> bool:
    """Whether ``layer`` has a binary form and is not kept at 8 bits by any method."""
    if isinstance(layer, Unpacked):
        return False
    return has_binary_form(layer) and not keeps_eight_bits(layer)


def binary_options(layer: Weighted, options: CompressOptions) -> BinaryOptions:
    """The options as given; a row of a linear layer is a column whatever shares the scales."""
    found = BinaryOptions(**options.binary())
    return replace(found, scales="column") if layer.op == "Linear" else found


def binary_candidates(
    layer: Weighted, weight: Tensor, data: LayerStatistics, options: CompressOptions
) -> list[Candidate]:
    """The binary form, where there is one.

    The harm counts the weight's error alone. What binarizing the input adds is much the same
    share of every layer's output, and hardly shifts the choice between layers.
    """
    if layer.binarization is not None:
        form = trained_options(layer.binarization)
        return [Candidate(form, stored_bytes(layer, form), 0.0)]
    if not may_be_binary(layer):
        return []
    energy = data.blocks.diagonal(dim1=2, dim2=3).flatten(1)[:, : layer.shape.inputs]
    rows = weight.reshape(layer.shape.groups, -1, layer.shape.taps, layer.shape.inputs)
    counted = rows * energy[:, None, None]
    # With the best scale of each output: sum e w^2 - (sum e |w|)^2 / sum e.
    taken = (counted * rows.sign()).sum((2, 3)).square() / (
        energy.sum(1)[:, None] * layer.shape.taps
    ).clamp_min(1e-30)
    error = float(((counted * rows).sum((2, 3)) - taken).sum())
    return [_candidate(layer, binary_options(layer, options), error, data)]


def composite_candidates(
    layer: Weighted, weight: Tensor, data: LayerStatistics, options: CompressOptions
) -> list[Candidate]:
    """Limits in bits, each from a step of the layer: from the finest that the planes allow to
    one at which few weights are left, with bytes and error of plain rounding."""
    shape = layer.shape
    energy = data.blocks.diagonal(dim1=2, dim2=3).flatten(1)[:, : shape.inputs]
    planes = options.planes or composite_form.MOST_PLANES
    finest = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / ((1 << planes) - 1)
    low = float(finest.min())
    high = max(4 * low, 3 * float(weight.square().mean().sqrt()))
    found = []
    for share in torch.linspace(0, 1, COMPOSITE_STEPS):
        scale = finest.clamp_min(low * (high / low) ** float(share))
        levels = composite_encode.round_levels(weight, scale)
        taken = composite_form.stored_bytes(levels, shape, {})
        bits = min(composite_form.MOST_BITS, round(COMPOSITE_SPARE * 8 * taken / shape.count, 3))
        form = CompositeOptions(planes, bits=bits)
        error = weight - torch.from_numpy(levels).to(weight) * scale[:, None, None]
        rows = error.reshape(shape.groups, -1, shape.taps, shape.inputs)
        lost = float((rows.square() * energy[:, None, None]).sum())
        found.append(_candidate(layer, form, lost, data))
    return found


def ternary_curve(
    layer: Weighted, weight: Tensor, data: LayerStatistics, seed: int
) -> NDArray[np.float64]:
    """Predicted output energy of the error for ranks from 0 to `MOST_RATIO` * min(O, n).

    From the greedy cycle of one decomposition, on a part of the outputs and as large a
    part of the inputs: what is left depends on the ratios of O, n and k, hardly on their
    sizes. Inputs count by their energy, as in `scalar_error`.
    """
    shape = layer.shape
    energy = data.blocks.diagonal(dim1=2, dim2=3).flatten(1)[:, : shape.inputs]
    rows = weight.reshape(shape.groups, -1, shape.taps, shape.inputs)
    scaled = rows * energy.clamp_min(0).sqrt()[:, None, None]
    total = float(scaled.square().sum())
    part = scaled[0].flatten(1)
    rng = torch.Generator(device=weight.device).manual_seed(seed)
    share = min(1.0, SAMPLED_OUTPUTS / min(part.shape))
    for axis in (0, 1):
        order = torch.randperm(part.shape[axis], generator=rng, device=weight.device)
        part = part.index_select(axis, order[: max(1, round(share * part.shape[axis]))])
    left = [float(part.square().sum())]
    rank = MOST_RATIO * min(part.shape)
    decompose(part, rank, 1, after_term=lambda rest: left.append(float(rest.square().sum())))
    return total * (np.array(left) / max(left[0], 1e-30)) ** GREEDY_POWER


def balanced(weight: Tensor, data: LayerStatistics) -> tuple[Tensor, LayerStatistics]:
    """Weight and statistics of an output layer, as its error is to be counted.

    Every output counts relative to its own variance, and all of them `OUTPUT_WEIGHT`
    times as much as a layer inside: what is lost here, no later layer makes good.
    """
    spread = data.variance.sqrt()
    spread = spread.clamp_min(1e-3 * float(spread.max()) + 1e-20)
    share = torch.full_like(spread, 1 / OUTPUT_WEIGHT)
    return weight / spread[:, None, None], replace(data, variance=share)


def product_error(
    layer: Weighted,
    weight: Tensor,
    data: LayerStatistics,
    form: ProductOptions,
    rng: torch.Generator,
) -> float:
    """Predicted output energy of the error, by a short k-means on a part of the weight."""
    points, weights = _points(layer, weight, data, form, rng)
    gains = torch.from_numpy(form.gain_levels().astype(np.float32) / GAIN_UNIT).to(weight.device)
    codebook = kmeans(points, weights, form.words, gains, STEPS, rng)
    entries = entries_of(codebook, gains)
    chosen = nearest(points, entries)[..., None].expand(-1, -1, form.group)
    missed = points - entries.gather(1, chosen)
    return float((missed.square().sum(-1) * weights).sum())


def _points(
    layer: Weighted,
    weight: Tensor,
    data: LayerStatistics,
    form: ProductOptions,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Sampled code vectors in their block's metric: [B, N, d], and the weight [B, N] with which
    the squared error of each counts for the layer's.

    Channel groups are drawn by the output energy that they have: some layers have most of it
    in a few channels, and dead channels beside them.
    """
    shape, d = layer.shape, form.group
    padded = torch.nn.functional.pad(weight, (0, data.blocks.shape[1] * BLOCK - shape.inputs))
    scale = padded.square().mean((1, 2)).sqrt().clamp_min(1e-12)
    count = -(-shape.inputs // d)
    rows = (padded / scale[:, None, None]).unflatten(2, (-1, d))[:, :, :count]
    metric = _metric(data, d)[:count]
    level = metric.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
    factor = torch.linalg.cholesky(metric + 1e-3 * level * torch.eye(d, device=weight.device))
    energy = torch.einsum("otgi,gij->otgj", rows, factor).square().sum((1, 3))
    share = (energy * scale.square()[:, None]).sum(0).clamp_min(1e-30)
    chosen, stands_for = _drawn(share, rng)
    if form.shared:
        # One codebook sees one metric: the mean over what is drawn; levels stay the groups' own.
        levels = metric[chosen].diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
        mean = (metric[chosen] / levels[:, None, None]).mean(0)
        one = torch.linalg.cholesky(mean + 1e-3 / d * torch.eye(d, device=weight.device))
        points, stands_for = rows[:, :, chosen].permute(2, 0, 1, 3) @ one, stands_for * levels
    else:
        points = rows[:, :, chosen].permute(2, 0, 1, 3) @ factor[chosen][:, None]
    points = points.flatten(1, 2)
    weights = scale.square()[:, None].expand(-1, shape.taps).reshape(1, -1) * stands_for[:, None]
    limit = POINTS
    if form.shared:
        points, weights, limit = points.reshape(1, -1, d), weights.reshape(1, -1), SHARED_POINTS
    taken = torch.randperm(points.shape[1], generator=rng, device=weight.device)[:limit]
    return points[:, taken], weights[:, taken] * (points.shape[1] / len(taken))


def _drawn(share: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Groups drawn with odds ``share``, all if they are few, and how many each stands for."""
    if len(share) <= SAMPLED_GROUPS:
        return torch.arange(len(share), device=share.device), torch.ones_like(share)
    drawn = torch.multinomial(share, SAMPLED_GROUPS, True, generator=rng)
    chosen, times = drawn.unique(return_counts=True)
    return chosen, times * share.sum() / (share[chosen] * len(drawn))


def _metric(data: LayerStatistics, d: int) -> Tensor:
    """The inputs' covariance within groups of ``d`` channels [groups, d, d], the mean over
    the convolution's groups."""
    grid = data.blocks.mean(0).reshape(-1, BLOCK // d, d, BLOCK // d, d).diagonal(dim1=1, dim2=3)
    return grid.permute(0, 3, 1, 2).reshape(-1, d, d)


def scalar_error(
    layer: Weighted, weight: Tensor, data: LayerStatistics, form: ScalarOptions
) -> float:
    """Predicted output energy of the error on the best of a few symmetric grids per output."""
    energy = data.blocks.diagonal(dim1=2, dim2=3).flatten(1)[:, : layer.shape.inputs]
    rows = weight.reshape(layer.shape.groups, -1, layer.shape.taps, layer.shape.inputs)
    largest = rows.abs().amax((2, 3), keepdim=True).clamp_min(1e-12)
    top = (1 << form.bits) - 1
    best = torch.full_like(largest[..., 0, 0], torch.inf)
    for share in torch.linspace(0.25, 1.0, 16):
        step = largest * share.item() / top
        snapped = (((rows / step + top) / 2).round().clamp(0, top) * 2 - top) * step
        cost = ((rows - snapped).square() * energy[:, None, None]).sum((2, 3))
        best = torch.minimum(best, cost)
    return float(best.sum())
