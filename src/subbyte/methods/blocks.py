"""Weights cut into blocks of d input channels, and their second moments likewise.

A block is d consecutive input channels of one tap. Channels are padded with zeros up to a multiple
of d. The padding gets a small diagonal in H and no correlation: codes of it cost nothing, and are
cut off when the weight is decoded.
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDING_ENERGY = 1e-3
_RIDGES = tuple(10.0**power for power in range(-6, 3))


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


def factor(matrices: Tensor, *, upper: bool = False) -> Tensor:
    """The Cholesky factors of ``matrices`` [..., n, n].

    Inputs that hardly change leave moments of little but rounding, with negative numbers on the
    diagonal. Such a matrix gets the least ridge that makes it positive definite, of powers of ten
    from a millionth to a hundred times the mean of its diagonal.

    Raises:
        torch.linalg.LinAlgError: a matrix that is not finite.
    """
    found, failed = torch.linalg.cholesky_ex(matrices, upper=upper)
    if not failed.any():
        return found
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    level = matrices.diagonal(dim1=-2, dim2=-1).abs().mean(-1).clamp_min(1e-20)[..., None, None]
    for ridge in _RIDGES:
        mended = torch.where((failed != 0)[..., None, None], ridge * level * eye, 0) + matrices
        found, still = torch.linalg.cholesky_ex(mended, upper=upper)
        if not still.any():
            return found
    return torch.linalg.cholesky(matrices, upper=upper)


def inverse_factor(moments: Tensor) -> Tensor:
    """The upper factor U of U^T U = H^-1, for H [n, n]."""
    return factor(torch.cholesky_inverse(factor(moments)), upper=True)
