"""How far one output is from the float network's, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subbyte.compress.proof import Divergence
from subbyte.compress.similarity import kl_sums, squares

# A variance that is so small a part of the mean square is rounding.
_CONSTANT = 1e-12


class Tally:
    """Sums over batches; only what is finite in the float output counts."""

    def __init__(self) -> None:
        self._error = np.zeros(4)
        self._scores = np.zeros(2)
        self._same = 0
        self._comparable = True

    def add(self, wanted: NDArray[Any], found: NDArray[Any]) -> None:
        """Outputs of a batch. Once two are of different shapes, nothing can be said of all."""
        self._comparable &= wanted.shape == found.shape
        if not self._comparable:
            return
        scores = wanted.dtype.kind == "f" and wanted.ndim == 2 and wanted.shape[1] > 1
        exact, other = wanted.astype(np.float64), found.astype(np.float64)
        finite = np.isfinite(exact)
        if scores:
            rows = finite.all(axis=1)
            p, q = torch.from_numpy(exact[rows]), torch.from_numpy(other[rows])
            self._scores += kl_sums(p, q)[:2]
            self._same += int((p.argmax(1) == q.argmax(1)).sum())
        values = torch.from_numpy(exact[finite]), torch.from_numpy(other[finite])
        self._error += squares(*values)

    def divergence(self) -> Divergence | None:
        """Of all batches; None if they cannot be compared, or nothing in them."""
        squared, count, total, energy = map(float, self._error)
        if not count or not self._comparable:
            return None
        spread = energy / count - (total / count) ** 2
        if spread <= _CONSTANT * energy / count:
            # One number, or the same everywhere: its square takes the place of its variance.
            spread = max(energy / count, _CONSTANT)
        error = squared / count / spread
        kl, samples = map(float, self._scores)
        if not samples:
            return Divergence(error)
        return Divergence(error, max(0.0, kl / samples), 100 * self._same / samples)
