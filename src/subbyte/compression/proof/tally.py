"""How far one output is from the float network's, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subbyte.compression.divergence import kl_sums, squares
from subbyte.compression.proof.record import Divergence

# A variance that is so small a part of the mean square is rounding.
_CONSTANT = 1e-12


class Tally:
    """Sums over batches; only entries that are finite in both outputs count."""

    def __init__(self) -> None:
        self._error = np.zeros(4)
        self._scores = np.zeros(2)
        self._same = self._broken = self._entries = 0
        self._comparable = True
        self._discrete = False

    def add(self, wanted: NDArray[Any], found: NDArray[Any]) -> None:
        """Outputs of a batch. Once two are of different shapes, nothing can be said of all."""
        self._comparable &= wanted.shape == found.shape
        if not self._comparable:
            return
        self._discrete = wanted.dtype.kind != "f"
        exact, other = wanted.astype(np.float64), found.astype(np.float64)
        finite = np.isfinite(exact) & np.isfinite(other)
        self._broken += int((np.isfinite(exact) & ~finite).sum())
        self._entries += exact.size
        if self._discrete:
            self._same += int((exact == other).sum())
        elif wanted.ndim == 2 and wanted.shape[1] > 1:
            self._add_scores(exact, other, np.asarray(finite.all(axis=1)))
        self._error += squares(torch.from_numpy(exact[finite]), torch.from_numpy(other[finite]))

    def _add_scores(
        self, exact: NDArray[Any], other: NDArray[Any], rows: NDArray[np.bool_]
    ) -> None:
        p, q = torch.from_numpy(exact[rows]), torch.from_numpy(other[rows])
        self._scores += kl_sums(p, q)[:2]
        self._same += int((p.argmax(1) == q.argmax(1)).sum())

    def divergence(self) -> Divergence | None:
        """The divergence over all batches; None if they cannot be compared, or nothing in them."""
        squared, count, total, energy = map(float, self._error)
        if not count or not self._comparable:
            return None
        spread = energy / count - (total / count) ** 2
        if spread <= _CONSTANT * energy / count:
            # One number, or the same everywhere: its square takes the place of its variance.
            spread = max(energy / count, _CONSTANT)
        error, broken = squared / count / spread, 100 * self._broken / self._entries
        kl, samples = map(float, self._scores)
        if self._discrete:
            return Divergence(error, None, 100 * self._same / self._entries, broken)
        if not samples:
            return Divergence(error, broken=broken)
        return Divergence(error, max(0.0, kl / samples), 100 * self._same / samples, broken)
