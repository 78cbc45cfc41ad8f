"""Rounding a fitted codebook to the integers of the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.product import form
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.state import ProductState


def common_factor(states: Sequence[ProductState]) -> float:
    """The largest f such that f times every codebook meets the int8 limits of `form`."""
    return min(_factor(state.codebook) for state in states)


def _factor(codebook: Tensor) -> float:
    largest = float(codebook.abs().max())
    positive = float(codebook.clamp_min(0).sum(-1).max())
    negative = float((-codebook).clamp_min(0).sum(-1).max())
    part = max(positive, negative, 1e-20)
    return min(form.WORD_LIMIT / max(largest, 1e-20), form.PART_LIMIT / part)


def round_words(state: ProductState, factor: float) -> None:
    """Round ``factor`` times the codebook to int8; the scales make up for the factor.

    Rounding can lift a word's part sum past the limit; truncation toward zero of such a
    word cannot.
    """
    scaled = state.codebook * factor
    rounded = scaled.round()
    part = torch.maximum(rounded.clamp_min(0).sum(-1), (-rounded).clamp_min(0).sum(-1))
    state.codebook = torch.where((part > form.PART_LIMIT)[..., None], scaled.trunc(), rounded)
    state.scale = state.scale / factor
    state.integer = True


def pack(
    shape: WeightShape, options: ProductOptions, states: Sequence[ProductState]
) -> CodedWeight:
    """The packed weight of the convolution groups' states, in order."""
    entry = torch.cat([state.entry for state in states]).cpu().numpy()
    codebook = torch.cat([state.codebook for state in states]).cpu().numpy()
    scale = torch.cat([state.scale for state in states]).cpu().numpy()
    return form.pack(
        shape,
        options,
        entry % options.words,
        entry // options.words,
        codebook.astype(np.int8),
        scale.astype(np.float32),
    )
