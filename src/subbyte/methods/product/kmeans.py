"""Weighted k-means over vectors with gains: where the codebooks start.

Minimises sum_v w_v min over k, gain of ||P_v - gain * C_k||^2, for many codebooks at once.
Start: k-means++ sampling; then Lloyd steps with the gain-weighted mean. An empty word is
re-seeded with a random vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 1 << 24


def kmeans(
    points: Tensor, weights: Tensor, words: int, gains: Tensor, steps: int, rng: torch.Generator
) -> Tensor:
    """Codebooks [B, K, d] for ``points`` [B, N, d] with ``weights`` [B, N] and ``gains`` [E]."""
    entries = words * len(gains) * points.shape[1]
    batch = max(1, _CHUNK // max(1, entries))
    parts = []
    for start in range(0, points.shape[0], batch):
        part, weight = points[start : start + batch], weights[start : start + batch]
        codebook = _start(part, weight, words, gains, rng)
        for _ in range(steps):
            codebook = _lloyd(part, weight, codebook, gains, rng)
        parts.append(codebook)
    return torch.cat(parts)


def entries_of(codebook: Tensor, gains: Tensor) -> Tensor:
    """[B, K, d] -> the extended codebook [B, E * K, d], gain-major."""
    books, words, group = codebook.shape
    extended = gains[None, :, None, None] * codebook[:, None]
    return extended.reshape(books, len(gains) * words, group)


def nearest(points: Tensor, entries: Tensor) -> Tensor:
    """Index [B, N] of the entry [B, E, d] nearest to each point [B, N, d]."""
    energy = entries.square().sum(-1)[:, None]
    distance = torch.baddbmm(energy, points, entries.transpose(1, 2), alpha=-2.0)
    return distance.argmin(-1)


def _start(
    points: Tensor, weights: Tensor, words: int, gains: Tensor, rng: torch.Generator
) -> Tensor:
    books, _, group = points.shape
    codebook = points.new_empty(books, words, group)
    rows = torch.arange(books, device=points.device)
    energy = points.square().sum(-1)
    share = weights * energy + 1e-12
    codebook[:, 0] = points[rows, torch.multinomial(share, 1, generator=rng)[:, 0]]
    distance = _distance(points, energy, codebook[:, :1], gains)
    for k in range(1, words):
        chance = weights * distance + 1e-9 * share + 1e-20
        codebook[:, k] = points[rows, torch.multinomial(chance, 1, generator=rng)[:, 0]]
        distance = torch.minimum(distance, _distance(points, energy, codebook[:, k : k + 1], gains))
    return codebook


def _distance(points: Tensor, energy: Tensor, word: Tensor, gains: Tensor) -> Tensor:
    """Squared distance [B, N] to the best gain times one word [B, 1, d]."""
    entries = entries_of(word, gains)
    cross = points @ entries.transpose(1, 2)
    size = entries.square().sum(-1)[:, None]
    return (energy + (size - 2 * cross).amin(-1)).clamp_min(0)


def _lloyd(
    points: Tensor, weights: Tensor, codebook: Tensor, gains: Tensor, rng: torch.Generator
) -> Tensor:
    books, words, group = codebook.shape
    index = nearest(points, entries_of(codebook, gains))
    word, gain = index % words, gains[index // words]
    total = points.new_zeros(books, words, group)
    mass = points.new_zeros(books, words)
    spread = word[..., None].expand(-1, -1, group)
    total.scatter_add_(1, spread, points * (weights * gain)[..., None])
    mass.scatter_add_(1, word, weights * gain * gain)
    used = mass > 1e-12
    mean = total / mass.clamp_min(1e-12)[..., None]
    codebook = torch.where(used[..., None], mean, codebook)
    book, empty = torch.where(~used)
    if len(book):
        count = points.shape[1]
        draw = torch.randint(0, count, (len(book),), generator=rng, device=points.device)
        codebook[book, empty] = points[book, draw]
    return codebook
