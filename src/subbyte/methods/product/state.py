"""The working state of the product encoder for one convolution group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.methods.blocks import relative_error
from subbyte.methods.product.kmeans import entries_of


@dataclass
class ProductState:
    """target [O, n] and moments H [n, n] with n = T * G * d; diagonal [T, G, d, d];
    codebook [G or 1, K, d]; gains [E]; scale [O]; entry [O, T, G] = gain number * K + word.

    ``integer``: the codebook holds the file's integers, and entries are rounded as the
    file's nodes round them.
    """

    target: Tensor
    moments: Tensor
    diagonal: Tensor
    gains: Tensor
    codebook: Tensor
    scale: Tensor
    entry: Tensor
    integer: bool = False

    @property
    def group(self) -> int:
        """d, channels a code."""
        return int(self.codebook.shape[2])

    @property
    def words(self) -> int:
        """K, words a codebook."""
        return int(self.codebook.shape[1])

    def entries(self) -> Tensor:
        """The extended codebook per channel group: [G, E * K, d]."""
        extended = entries_of(self.codebook, self.gains)
        if self.integer:
            extended = extended.round()
        return extended.expand(self.entry.shape[2], -1, -1)

    def codes(self) -> Tensor:
        """Unscaled weight [O, n]."""
        index = torch.arange(self.entry.shape[2], device=self.entry.device)
        return self.entries()[index, self.entry].reshape(self.entry.shape[0], -1)

    def weight(self) -> Tensor:
        """The coded weight [O, n], scale included."""
        return self.codes() * self.scale[:, None]

    def loss(self) -> float:
        """tr(E H E^T) / tr(W H W^T) with E = W - What."""
        error = self.target - self.weight()
        return relative_error(error, self.target, self.moments)
