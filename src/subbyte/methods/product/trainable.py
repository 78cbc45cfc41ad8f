"""A product-coded weight whose codebooks and scales are trained, its codes held.

Training sees the weight as the file will hold it. Words are rounded to int8 within the limits of
`form`, gain times word is rounded to the effective integer; gradients pass the roundings straight
through. Optionally the codes move too: each block then carries a latent vector that receives the
block's gradient, and takes the entry nearest to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from subbyte.methods import packing
from subbyte.methods.coded import CodedWeight, decode_scale
from subbyte.methods.product import form
from subbyte.methods.product.kmeans import nearest
from subbyte.methods.training import TrainableWeight


class ProductWeight(TrainableWeight):
    """forward() -> weight [O, T, I]. Parameters: ``codebook`` [books, K, d] in units of
    its own rms, ``log_scale`` [O]; with ``move`` also ``latent`` [O, T, G, d]."""

    rates: ClassVar[Mapping[str, float]] = {"codebook": 1e-3, "log_scale": 1e-3, "latent": 1e-3}
    gains: Tensor
    entry: Tensor
    book: Tensor

    def __init__(self, coded: CodedWeight, move: bool = False) -> None:
        super().__init__()
        self.shape, self.options, self._variant = coded.shape, form.made_with(coded), coded.variant
        grid = (coded.shape.outputs, coded.shape.taps, -(-coded.shape.inputs // self.options.group))
        count = int(np.prod(grid))
        codes = packing.unpack(coded.inputs["codes"].astype(np.uint8), count).astype(np.int64)
        entry = codes
        if coded.variant:
            gains = packing.unpack(coded.inputs["gain_codes"].astype(np.uint8), count)
            entry = codes + gains.astype(np.int64) * self.options.words
        book = torch.from_numpy(coded.inputs["codebook"].astype(np.float32))
        self.unit = float(book.square().mean().sqrt().clamp_min(1.0))
        self.codebook = nn.Parameter(book / self.unit)
        self.log_scale = nn.Parameter(torch.from_numpy(decode_scale(coded)).log())
        levels = self.options.gain_levels().astype(np.float32) / form.GAIN_UNIT
        self.register_buffer("gains", torch.from_numpy(levels))
        self.register_buffer("entry", torch.from_numpy(entry).reshape(grid))
        per_group = torch.arange(coded.shape.groups * grid[2]).reshape(coded.shape.groups, grid[2])
        book_number = torch.zeros_like(per_group) if len(book) == 1 else per_group
        rows = book_number.repeat_interleave(coded.shape.outputs // coded.shape.groups, 0)
        self.register_buffer("book", rows[:, None, :])
        self.latent: nn.Parameter | None = None
        if move:
            with torch.no_grad():
                self.latent = nn.Parameter(self._blocks() / self.unit)

    def _entries(self) -> Tensor:
        """Effective integer entries [books, E * K, d], roundings passed straight through."""
        words = self.codebook * self.unit
        words = words + (words.round().clamp(-form.WORD_LIMIT, form.WORD_LIMIT) - words).detach()
        extended = self.gains[None, :, None, None] * words[:, None]
        extended = extended + (extended.round() - extended).detach()
        return extended.flatten(1, 2)

    def _blocks(self) -> Tensor:
        entries = self._entries()
        index = self.entry + self.book * entries.shape[1]
        return entries.flatten(0, 1)[index]

    @torch.no_grad()
    def settle(self) -> None:
        """Give every block the entry nearest to its latent vector."""
        if self.latent is None:
            return
        entries, latent = self._entries(), self.latent * self.unit
        for number in range(len(entries)):
            where = (self.book == number).expand_as(self.entry)
            points = latent[where][None]
            self.entry[where] = nearest(points, entries[number : number + 1])[0]

    def forward(self) -> Tensor:
        """The weight [O, T, I], as the file will hold it but for the scale's float16."""
        blocks = self._blocks()
        if self.latent is not None:
            latent = self.latent * self.unit
            blocks = blocks + latent - latent.detach()
        weight = blocks.flatten(2)[:, :, : self.shape.inputs]
        return weight * self.log_scale.exp()[:, None, None]

    @torch.no_grad()
    def coded(self) -> CodedWeight:
        """The trained weight, packed. Words past the limits are drawn in, word by word."""
        words = (self.codebook * self.unit).round().clamp(-form.WORD_LIMIT, form.WORD_LIMIT)
        part = torch.maximum(words.clamp_min(0).sum(-1), (-words).clamp_min(0).sum(-1))
        shrink = (form.PART_LIMIT / part.clamp_min(1)).clamp_max(1.0)[..., None]
        words = torch.where(shrink < 1, (words * shrink).trunc(), words)
        entry = self.entry.cpu().numpy()
        return form.pack(
            self.shape,
            self.options,
            entry % self.options.words,
            entry // self.options.words,
            words.to(torch.int8).cpu().numpy(),
            self.log_scale.exp().cpu().numpy(),
        )


def trainable(
    coded: CodedWeight, *, move: bool = False, reference: Tensor | None = None
) -> ProductWeight:
    """The module of a coded weight; ``move``: its codes move too."""
    del reference
    return ProductWeight(coded, move)
