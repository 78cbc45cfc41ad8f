"""How many terms a ternary factorization may have: by default the paper's min(m, n)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from subbyte.errors import OptionError
from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.options import Given
from subbyte.methods.ternary.decomposition import decompose
from subbyte.methods.ternary.form import (
    MOST_RATIO,
    TernaryOptions,
    check_rank,
    rank_of,
    smaller_side,
)

DEFAULT_RATIO = 1.0
RATIO_STEP = 1 / 8
# Below it the factors lose most of a layer: more is gained by taking bits from the layers
# that are kept at 8.
LEAST_RATIO = 1 / 2
SAMPLED_OUTPUTS = 48
# What descent under the whole of H leaves, as a power of what the greedy cycle leaves:
# 1.5 to 2.2 over the layers and ranks of ResNet-20.
GREEDY_POWER = 1.8


def default(layer: LayerTraits, given: Given) -> TernaryOptions | None:
    """``rank_ratio`` times the smaller side, 1 if it is not given, at most ``rank``."""
    if layer.kept:
        return None
    ratio = float(given.get("rank_ratio", DEFAULT_RATIO))
    return TernaryOptions(rank_of(layer.shape, ratio, _most(given)))


def search(problem: SearchProblem, given: Given) -> list[Found]:
    """Ranks from half of min(outputs, inputs), in steps of an eighth of it."""
    shape = problem.layer.shape
    ratios = np.arange(LEAST_RATIO, MOST_RATIO + RATIO_STEP, RATIO_STEP)
    ranks = sorted({rank_of(shape, float(ratio), _most(given)) for ratio in ratios})
    curve = error_curve(problem)
    places = torch.linspace(0, MOST_RATIO, len(curve)).numpy()
    return [
        Found(TernaryOptions(rank), float(np.interp(rank / smaller_side(shape), places, curve)))
        for rank in ranks
    ]


def _most(given: Given) -> int | None:
    return int(given["rank"]) if "rank" in given else None


def error_curve(problem: SearchProblem) -> NDArray[np.float64]:
    """Predicted output energy of the error for ranks from 0 to `MOST_RATIO` * min(O, n).

    The curve comes from the greedy cycle of one decomposition, on a part of the outputs and as
    large a part of the inputs. The error that is left depends on the ratios of O, n and k, hardly
    on their sizes. Inputs count by their energy.
    """
    weight = problem.weight
    scaled = problem.rows * problem.energy.clamp_min(0).sqrt()[:, None, None]
    total = float(scaled.square().sum())
    part = scaled[0].flatten(1)
    rng = torch.Generator(device=weight.device).manual_seed(problem.seed)
    share = min(1.0, SAMPLED_OUTPUTS / min(part.shape))
    for axis in (0, 1):
        order = torch.randperm(part.shape[axis], generator=rng, device=weight.device)
        part = part.index_select(axis, order[: max(1, round(share * part.shape[axis]))])
    left = [float(part.square().sum())]
    rank = MOST_RATIO * min(part.shape)
    decompose(part, rank, 1, after_term=lambda rest: left.append(float(rest.square().sum())))
    return total * (np.array(left) / max(left[0], 1e-30)) ** GREEDY_POWER


def check(layer: LayerTraits, options: TernaryOptions) -> None:
    """The layer is large enough for the rank."""
    check_rank(layer.shape, options)


def check_given(given: Given, budget: str | None) -> None:
    """With a budget the ranks are chosen."""
    if budget is not None and "rank_ratio" in given:
        raise OptionError(f"ternary: {budget} and rank_ratio exclude each other")
