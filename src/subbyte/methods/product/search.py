"""Which product codes a layer may have, and the error that each is predicted to leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods import blocks
from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.options import Given, MethodOptions
from subbyte.methods.product.form import (
    GAIN_UNIT,
    GROUPS,
    WORDS,
    ProductOptions,
    check_words,
    most_words,
    stored_bytes,
    sub_columns,
)
from subbyte.methods.product.kmeans import entries_of, kmeans, nearest
from subbyte.methods.scalar import form as scalar_form
from subbyte.methods.scalar.form import EIGHT_BITS
from subbyte.methods.scalar.search import default as scalar_default
from subbyte.methods.statistics import BLOCK

DEFAULT = ProductOptions(group=4, words=16, gain=3)
# d and K of the paper's AlexNet.
PUBLISHED_CONV, PUBLISHED_LINEAR, PUBLISHED_LAST = (8, 128), (4, 32), (1, 16)
POINTS = 1024
SHARED_POINTS = 4096
SAMPLED_GROUPS = 16
STEPS = 5


def default(layer: LayerTraits, given: Given) -> MethodOptions | None:
    """d = 4, K = 16 and a gain of 3 bits where nothing else is given; Q-CNN's own setting with
    its procedures. None for an unpacked weight whose codebooks take more than they save."""
    published = given.get("procedure", "corrected") != "corrected"
    if published:
        return EIGHT_BITS if layer.unpacked else _published(layer, given)
    if layer.kept:
        return None
    words = int(given.get("words", DEFAULT.words))
    found = ProductOptions(
        int(given.get("group", DEFAULT.group)),
        min(words, most_words(sub_columns(layer.shape))),
        int(given.get("gain", DEFAULT.gain)),
        bool(given.get("shared", False)) and layer.shape.groups == 1,
    )
    least = scalar_form.stored_bytes(layer.shape, scalar_default(layer, {}))
    return None if layer.unpacked and stored_bytes(layer.shape, found) > least else found


def _published(layer: LayerTraits, given: Given) -> MethodOptions:
    """Q-CNN's setting for AlexNet: convolutions 8/128, linear layers 4/32, the last 1/16.

    ``group`` and ``words`` stand in for all of these but the last layer's. A layer of
    fewer channels is one subspace of them; one that does not fill the words takes fewer, and
    one that does not fill 16 keeps 8 bits.
    """
    shape = layer.shape
    columns = sub_columns(shape)
    if layer.tiny or columns < min(WORDS):
        return EIGHT_BITS
    group, words = PUBLISHED_LINEAR if layer.linear else PUBLISHED_CONV
    group, words = int(given.get("group", group)), int(given.get("words", words))
    if layer.linear and layer.output:
        group, words = PUBLISHED_LAST
    return ProductOptions(
        min(group, shape.inputs),
        min(words, most_words(columns)),
        procedure="paper-plain" if given.get("procedure") == "paper-plain" else "paper",
    )


def forms(layer: LayerTraits, given: Given) -> list[ProductOptions]:
    """All product codes that ``given`` allows for this layer.

    ``group`` is the shortest sub-vector, ``words`` the most words; of these as many as the
    layer's sub-columns fill.
    """
    least = int(given.get("group", min(GROUPS)))
    words = min(int(given.get("words", DEFAULT.words)), most_words(sub_columns(layer.shape)))
    gains = (int(given["gain"]),) if "gain" in given else range(5)
    sharings = (bool(given["shared"]),) if "shared" in given else (False, True)
    return [
        ProductOptions(group, words, gain, shared)
        for group in sorted({least, *GROUPS})
        if least <= group <= layer.shape.inputs or group == least
        for gain in gains
        for shared in (sharings if layer.shape.groups == 1 else (False,))
    ]


def search(problem: SearchProblem, given: Given) -> list[Found]:
    """All product codes that ``given`` allows."""
    found = []
    for form in forms(problem.layer, given):
        rng = torch.Generator(device=problem.weight.device).manual_seed(problem.seed)
        found.append(Found(form, code_error(problem, form, rng)))
    return found


def code_error(problem: SearchProblem, form: ProductOptions, rng: torch.Generator) -> float:
    """Predicted output energy of the error, by a short k-means on a part of the weight."""
    points, weights = _points(problem, form, rng)
    levels = torch.from_numpy(form.gain_levels().astype(np.float32) / GAIN_UNIT)
    gains = levels.to(problem.weight.device)
    codebook = kmeans(points, weights, form.words, gains, STEPS, rng)
    entries = entries_of(codebook, gains)
    chosen = nearest(points, entries)[..., None].expand(-1, -1, form.group)
    missed = points - entries.gather(1, chosen)
    return float((missed.square().sum(-1) * weights).sum())


def _points(
    problem: SearchProblem, form: ProductOptions, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sampled code vectors in their block's metric: [B, N, d], and the weight [B, N] with which
    the squared error of each counts for the layer's.

    Channel groups are drawn by the output energy that they have: some layers have most of it
    in a few channels, and dead channels beside them.
    """
    weight, shape, d = problem.weight, problem.layer.shape, form.group
    padded = torch.nn.functional.pad(weight, (0, problem.blocks.shape[1] * BLOCK - shape.inputs))
    scale = padded.square().mean((1, 2)).sqrt().clamp_min(1e-12)
    count = -(-shape.inputs // d)
    rows = (padded / scale[:, None, None]).unflatten(2, (-1, d))[:, :, :count]
    metric = _metric(problem.blocks, d)[:count]
    level = metric.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
    factor = blocks.factor(metric + 1e-3 * level * torch.eye(d, device=weight.device))
    energy = torch.einsum("otgi,gij->otgj", rows, factor).square().sum((1, 3))
    share = (energy * scale.square()[:, None]).sum(0).clamp_min(1e-30)
    chosen, stands_for = _drawn(share, rng)
    if form.shared:
        # One codebook sees one metric: the mean over what is drawn; levels stay the groups' own.
        levels = metric[chosen].diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
        mean = (metric[chosen] / levels[:, None, None]).mean(0)
        one = blocks.factor(mean + 1e-3 / d * torch.eye(d, device=weight.device))
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


def _metric(blocks: Tensor, d: int) -> Tensor:
    """The inputs' covariance within groups of ``d`` channels [groups, d, d], the mean over
    the convolution's groups."""
    grid = blocks.mean(0).reshape(-1, BLOCK // d, d, BLOCK // d, d).diagonal(dim1=1, dim2=3)
    return grid.permute(0, 3, 1, 2).reshape(-1, d, d)


def check(layer: LayerTraits, options: ProductOptions) -> None:
    """The layer fills the words, and shares its codebook only where it has no groups."""
    groups = layer.shape.groups
    if options.shared and groups > 1:
        raise OptionError(
            "product: a shared codebook is for layers without convolution groups",
            expected="shared = false",
            got=f"shared = true with {groups} groups",
        )
    check_words(layer.shape, options)


def check_given(given: Given, budget: str | None) -> None:
    """Kernels and search know some lengths of sub-vectors; the paper has no gain and no budget."""
    lengths = (1, *GROUPS)
    if given.get("group", 1) not in lengths:
        expected = ", ".join(map(str, lengths[:-1])) + f" or {lengths[-1]}"
        raise OptionError("product: group out of range", expected=expected, got=given["group"])
    procedure = given.get("procedure", "corrected")
    if procedure == "corrected":
        return
    for name in (budget, *(name for name in ("gain", "shared") if name in given)):
        if name is not None:
            raise OptionError(f"product: {name} and procedure {procedure} exclude each other")


def check_network(layers: Sequence[LayerTraits], given: Given) -> None:
    """Some layer fills the words that are given."""
    if "words" not in given:
        return
    columns = max((sub_columns(layer.shape) for layer in layers if not layer.tiny), default=0)
    if int(given["words"]) > most_words(columns):
        raise OptionError(
            f"product: words: no layer has more than {columns} sub-columns",
            expected=f"at most {most_words(columns)}",
            got=given["words"],
        )
