"""Coding one layer: from its options to its coded weight."""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.compression.calibration.moments import Target
from subbyte.compression.device import few_threads
from subbyte.errors import OptionError
from subbyte.graph.network import Unpacked, Weighted
from subbyte.methods import CodedWeight, MethodOptions, blocks, decode_weight, encode_target
from subbyte.methods.coded import rescale

LEAST_SPREAD = 1e-3


def encode_weight(
    layer: Weighted,
    target: Target,
    options: MethodOptions,
    seed: int,
    balanced: bool = False,
    spread: Tensor | None = None,
) -> tuple[CodedWeight, float]:
    """Code a layer's target; also its relative error tr(E H E^T) / tr(W* H W*^T).

    ``balanced``: every output's error counts relative to that output's own spread, not to the
    largest's. Right for a network's outputs: nothing behind them weighs them, and a quiet class is
    a class like any other. ``spread`` [O], instead: the number that every output's error counts
    relative to.
    """
    given = spread is not None
    if spread is None:
        spread = _spread(target) if balanced else torch.ones_like(target.weight[:, 0, 0])
    weight = target.weight / spread[:, None, None]
    try:
        with few_threads(target.moments.shape[1]):
            unpacked = isinstance(layer, Unpacked)
            coded = encode_target(weight, target.moments, layer.shape, options, seed, unpacked)
    except OptionError as error:
        raise OptionError(
            error.what, where=layer.name, expected=error.expected, got=error.got
        ) from error
    if balanced or given:
        coded = rescale(coded, spread.cpu().numpy())
    return coded, relative_error(target, coded)


def _spread(target: Target) -> Tensor:
    """Standard deviation [O] of each output, the smallest ones raised."""
    rows = target.weight.reshape(len(target.moments), -1, target.moments.shape[1])
    variance = ((rows @ target.moments) * rows).sum(2).reshape(-1)
    spread = variance.clamp_min(0).sqrt()
    return spread.clamp_min(LEAST_SPREAD * float(spread.max()) + 1e-20)


def relative_error(target: Target, coded: CodedWeight) -> float:
    """tr(E H E^T) / tr(W* H W*^T) with E = W* - What, summed over convolution groups."""
    groups = len(target.moments)
    wanted = target.weight.reshape(groups, -1, target.moments.shape[1])
    decoded = torch.from_numpy(decode_weight(coded)).to(wanted.device)
    error = wanted - decoded.reshape(wanted.shape)
    return blocks.relative_error(error, wanted, target.moments)
