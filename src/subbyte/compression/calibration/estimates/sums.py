"""Sums over rows of a layer's inputs and targets, and the moments that they give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Sums over rows x [groups, n] and t [groups, R], both less one fixed origin.

    ``xx`` [groups, n, n], ``tx`` [groups, R, n], ``x`` [groups, n], ``t`` [groups, R], and the
    ``count`` of rows.
    """

    xx: Tensor
    tx: Tensor
    x: Tensor
    t: Tensor
    count: int = 0

    @staticmethod
    def zeros(groups: int, rows: int, width: int, device: torch.device) -> Sums:
        """Sums over no rows at all."""
        return Sums(
            torch.zeros(groups, width, width, device=device),
            torch.zeros(groups, rows, width, device=device),
            torch.zeros(groups, width, device=device),
            torch.zeros(groups, rows, device=device),
        )

    def with_rows(self, x: Tensor, t: Tensor) -> Sums:
        """With the rows x [groups, n, S] and t [groups, R, S] added, in place: these sums are
        then used up."""
        self.xx.add_(x @ x.transpose(1, 2))
        self.tx.add_(t @ x.transpose(1, 2))
        self.x.add_(x.sum(2))
        self.t.add_(t.sum(2))
        return Sums(self.xx, self.tx, self.x, self.t, self.count + x.shape[2])

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.xx + other.xx,
            self.tx + other.tx,
            self.x + other.x,
            self.t + other.t,
            self.count + other.count,
        )

    def __sub__(self, other: Sums) -> Sums:
        """The sums over the rows that ``other`` does not have."""
        return Sums(
            self.xx - other.xx,
            self.tx - other.tx,
            self.x - other.x,
            self.t - other.t,
            self.count - other.count,
        )

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """The means of x [groups, n] and of t [groups, R], less the origin."""
        return self.x / self.count, self.t / self.count

    def covariances(self) -> tuple[Tensor, Tensor]:
        """Cov(x, x) [groups, n, n] and Cov(t, x) [groups, R, n]."""
        mean_x, mean_t = self.means
        moments = self.xx / self.count
        moments -= mean_x[:, :, None] * mean_x[:, None, :]
        return moments, self.tx / self.count - mean_t[:, :, None] * mean_x[:, None, :]

    def about(self, means: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The second moments of `covariances` about ``means``, of other rows, in place of these
        rows' own."""
        (mean_x, mean_t), (own_x, own_t) = means, self.means
        off_x, off_t = own_x - mean_x, own_t - mean_t
        moments, cross = self.covariances()
        moments += off_x[:, :, None] * off_x[:, None, :]
        return moments, cross + off_t[:, :, None] * off_x[:, None, :]
