"""FFN's improved semidiscrete decomposition, with weights on rows and columns.

    minimise || A - diag(r) X diag(d) Y^T diag(c) ||^2      X, Y in {-1, 0, 1}

With r = c = 1 this is the paper's procedure. Greedy terms on the residual come first, each from y =
ones by alternating exact steps until nothing changes. Then come cycles in which each term is put
back into the residual and found again from its own y. The weights are ours: r carries a scale per
output, c the energy of each input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PUBLISHED_CYCLES = 20
MOST_ALTERNATIONS = 1000


@dataclass
class Factors:
    """left X [m, k] and right Y [k, n] hold -1, 0, 1 as floats; d [k], not negative."""

    left: Tensor
    d: Tensor
    right: Tensor

    def product(self) -> Tensor:
        """X diag(d) Y^T, [m, n]."""
        return (self.left * self.d) @ self.right


def ternary_step(linear: Tensor, energy: Tensor | None = None) -> Tensor:
    """The exact x in {-1, 0, 1}^m that maximises (x . linear)^2 / sum of energy over x != 0.

    For a support of given size the largest |linear| / energy win, so the best of the m
    prefixes of that order is the optimum. ``energy`` [m], positive; None: ones (the
    paper's step).
    """
    size = linear.abs()
    gain = size if energy is None else size / energy
    order = gain.argsort(descending=True, stable=True)
    # On the CPU, as running sums on a GPU are not the same bits every time.
    total = size[order].cpu().cumsum(0)
    cost = (torch.ones_like(size) if energy is None else energy[order]).cpu().cumsum(0)
    count = int((total.square() / cost).argmax()) + 1
    chosen = torch.zeros_like(linear)
    chosen[order[:count]] = linear[order[:count]].sign()
    return chosen


def decompose(
    target: Tensor,
    rank: int,
    cycles: int = PUBLISHED_CYCLES,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    after_cycle: Callable[[Tensor], None] | None = None,
    after_term: Callable[[Tensor], None] | None = None,
) -> Factors:
    """Decompose ``target`` A [m, n] in ``rank`` terms; ``rows`` r [m], ``columns`` c [n].

    ``after_cycle`` and ``after_term`` (of the first cycle) see the residual.
    """
    m, n = target.shape
    work = _Work(target.clone(), rows, columns)
    found = Factors(target.new_zeros(m, rank), target.new_zeros(rank), target.new_zeros(rank, n))
    for cycle in range(cycles):
        for i in range(rank):
            start = found.right[i]
            if cycle == 0 or not start.any():
                start = torch.ones_like(start)
            if cycle:
                work.residual += found.d[i] * work.term(found.left[:, i], found.right[i])
            left, d, right = work.rank_one(start)
            found.left[:, i], found.d[i], found.right[i] = left, d, right
            work.residual -= d * work.term(left, right)
            if cycle == 0 and after_term is not None:
                after_term(work.residual)
        if after_cycle is not None:
            after_cycle(work.residual)
    return found


class _Work:
    """The residual and the weights of rows and columns."""

    def __init__(self, residual: Tensor, rows: Tensor | None, columns: Tensor | None) -> None:
        self.residual = residual
        self._rows, self._columns = rows, columns
        self._row_energy = None if rows is None else rows.square()
        self._column_energy = None if columns is None else columns.square()

    def term(self, left: Tensor, right: Tensor) -> Tensor:
        """(r x)(c y)^T."""
        return torch.outer(_times(left, self._rows), _times(right, self._columns))

    def rank_one(self, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(x, d, y) for the residual, alternating from ``right`` until nothing changes."""
        left = torch.zeros_like(self.residual[:, 0])
        for _ in range(MOST_ALTERNATIONS):
            linear = _times(self.residual @ _times(right, self._columns), self._rows)
            new_left = ternary_step(linear, self._row_energy)
            linear = _times(_times(new_left, self._rows) @ self.residual, self._columns)
            new_right = ternary_step(linear, self._column_energy)
            if torch.equal(new_left, left) and torch.equal(new_right, right):
                break
            left, right = new_left, new_right
        energy = _energy(left, self._row_energy) * _energy(right, self._column_energy)
        return left, (right @ linear / energy.clamp_min(1e-30)).clamp_min(0), right


def _times(value: Tensor, weight: Tensor | None) -> Tensor:
    return value if weight is None else value * weight


def _energy(value: Tensor, weight: Tensor | None) -> Tensor:
    return value.abs().sum() if weight is None else (value.abs() * weight).sum()
