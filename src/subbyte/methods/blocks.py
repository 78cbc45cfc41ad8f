"""Weights cut into blocks of d input channels, and their second moments likewise.

A block is d consecutive input channels of one tap. Channels are padded with zeros up to a multiple
of d. The padding gets a small diagonal in H and no correlation: codes of it cost nothing, and are
cut off when the weight is decoded.
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDING_ENERGY = 1e-3


def split(weight: Tensor, group: int) -> Tensor:
    """[O, T, I] -> blocks [O, T, G, d], zero-padded."""
    outputs, taps, inputs = weight.shape
    count = -(-inputs // group)
    padded = torch.nn.functional.pad(weight, (0, count * group - inputs))
    return padded.reshape(outputs, taps, count, group)


def pad_moments(moments: Tensor, taps: int, inputs: int, group: int) -> Tensor:
    """H [T*I, T*I] -> [T*G*d, T*G*d], the padding channels on a small diagonal."""
    count = -(-inputs // group) * group
    if count == inputs:
        return moments
    energy = PADDING_ENERGY * moments.diagonal().mean()
    padded = torch.eye(taps * count, dtype=moments.dtype, device=moments.device) * energy
    device = moments.device
    rows = torch.arange(taps, device=device)[:, None] * count + torch.arange(inputs, device=device)
    index = rows.reshape(-1)
    padded[index[:, None], index[None, :]] = moments
    return padded


def diagonal_blocks(moments: Tensor, taps: int, group: int) -> Tensor:
    """The d x d blocks on H's diagonal: [T, G, d, d]."""
    count = moments.shape[0] // group
    grid = moments.reshape(count, group, count, group)
    blocks = grid.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    return blocks.reshape(taps, count // taps, group, group).contiguous()


def weighted_error(error: Tensor, moments: Tensor) -> Tensor:
    """tr(E H E^T), a scalar, for E [O, n] and H [n, n]; of [groups, O, n] and [groups, n, n] the
    sum over groups."""
    return ((error @ moments) * error).sum()


def relative_error(error: Tensor, target: Tensor, moments: Tensor) -> float:
    """tr(E H E^T) / tr(W H W^T), of shapes as `weighted_error`."""
    total = weighted_error(target, moments).clamp_min(1e-30)
    return float(weighted_error(error, moments) / total)
