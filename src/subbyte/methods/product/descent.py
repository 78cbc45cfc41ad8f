"""The steps of the product encoder; each lowers tr((W - What) H (W - What)^T).

Blocks are visited in order. A block's change is passed on at once within a panel of columns, to all
other columns only when the panel is done. The numbers are the same as when it is passed on at once,
by a few large matrix products instead of many thin ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from subbyte.methods.blocks import inverse_factor
from subbyte.methods.product.kmeans import nearest
from subbyte.methods.product.state import ProductState

PANEL = 128
CG_STEPS = 12
RIDGE = 1e-4


def assign_nearest(state: ProductState) -> None:
    """Each block takes the entry nearest to it, H aside."""
    outputs, taps, count = state.entry.shape
    points = state.target.reshape(outputs, taps, count, -1) / state.scale[:, None, None, None]
    points = points.permute(2, 0, 1, 3).reshape(count, outputs * taps, -1)
    index = nearest(points, state.entries())
    state.entry = index.reshape(count, outputs, taps).permute(1, 2, 0).contiguous()


def panels(state: ProductState, width: int = PANEL) -> Iterator[tuple[int, int]]:
    """Column ranges of about ``width`` columns, whole blocks each."""
    width = max(1, width // state.group) * state.group
    total = state.target.shape[1]
    for first in range(0, total, width):
        yield first, min(first + width, total)


def _block(state: ProductState, column: int) -> tuple[int, int]:
    """(tap, channel group) of the block that starts at ``column``."""
    return divmod(column // state.group, state.entry.shape[2])


def sequential_pass(state: ProductState, panel: int = PANEL) -> None:
    """Code the blocks once, in order, each in the metric that remains after the columns
    still to come have been re-fitted (GPTQ's update, on blocks of d columns)."""
    upper = inverse_factor(state.moments)
    work, entries, d = state.target.clone(), state.entries(), state.group
    for first, last in panels(state, panel):
        errors = torch.zeros_like(work[:, first:last])
        for column in range(first, last, d):
            tap, count = _block(state, column)
            corner = upper[column : column + d, column : column + d]
            metric = torch.linalg.inv(corner.T @ corner)
            x = work[:, column : column + d]
            chosen = _choose(x @ metric, entries[count], metric, state.scale)
            state.entry[:, tap, count] = chosen
            missed = x - state.scale[:, None] * entries[count][chosen]
            error = torch.linalg.solve_triangular(corner, missed, upper=True, left=False)
            errors[:, column - first : column - first + d] = error
            work[:, column + d : last] -= error @ upper[column : column + d, column + d : last]
        work[:, last:] -= errors @ upper[first:last, last:]


def _choose(linear: Tensor, entries: Tensor, metric: Tensor, scale: Tensor) -> Tensor:
    """argmin over v of s^2 v^T M v - 2 s v^T linear, per output: [O]."""
    energy = ((entries @ metric) * entries).sum(-1)
    cost = scale[:, None] * energy[None] - 2 * (linear @ entries.T)
    return cost.argmin(1)


def sweep_codes(state: ProductState, sweeps: int, panel: int = PANEL) -> None:
    """Coordinate descent: every block in turn takes its best entry, the others held."""
    entries, d = state.entries(), state.group
    scale = state.scale[:, None]
    residual = (state.target - state.weight()) @ state.moments
    for _ in range(sweeps):
        for first, last in panels(state, panel):
            local = residual[:, first:last].clone()
            change = torch.zeros_like(local)
            moments = state.moments[first:last]
            for column in range(first, last, d):
                tap, count = _block(state, column)
                at = column - first
                old = state.entry[:, tap, count]
                before = entries[count][old]
                block = state.diagonal[tap, count]
                linear = scale * (before @ block) + local[:, at : at + d]
                new = _choose(linear, entries[count], block, state.scale)
                state.entry[:, tap, count] = new
                delta = scale * (entries[count][new] - before)
                change[:, at : at + d] = delta
                local[:, at + d :] -= delta @ moments[at : at + d, column + d : last]
            residual -= change @ moments


def fit_scale(state: ProductState) -> None:
    """scale_o = (q H w) / (q H q) with q the unscaled codes; never negative or zero."""
    codes = state.codes()
    weighted = codes @ state.moments
    energy = (weighted * codes).sum(1)
    found = (weighted * state.target).sum(1) / energy.clamp_min(1e-30)
    state.scale = torch.where(energy > 0, found, state.scale).clamp_min(1e-12)


def fit_codebook(state: ProductState) -> None:
    """All words of all codebooks at once: least squares by conjugate gradients.

    The unknowns are the words; A(words) = What is linear in them once codes, gains and
    scales are held. Preconditioned by each word's total squared gain and scale.
    """
    solver = _CodebookProblem(state)
    x = state.codebook
    residual = solver.transpose((state.target - solver.apply(x)) @ state.moments)
    z = residual * solver.precondition
    direction, product = z, (residual * z).sum()
    for _ in range(CG_STEPS):
        image = solver.transpose(solver.apply(direction) @ state.moments)
        image = image + RIDGE * solver.curvature * direction
        step = product / (direction * image).sum().clamp_min(1e-30)
        x, residual = x + step * direction, residual - step * image
        z = residual * solver.precondition
        following = (residual * z).sum()
        direction = z + following / product.clamp_min(1e-30) * direction
        product = following
    state.codebook = x


class _CodebookProblem:
    """The linear map from words to weights for held codes, gains and scales."""

    def __init__(self, state: ProductState) -> None:
        books, words, self.group = state.codebook.shape
        self.shape = state.codebook.shape
        outputs, _taps, count = state.entry.shape
        word, gain = state.entry % words, state.gains[state.entry // words]
        book = torch.arange(count, device=word.device) * words * (books > 1)
        self.index = (word + book).reshape(-1)
        self.factor = (gain * state.scale[:, None, None]).reshape(-1, 1)
        self.outputs = outputs
        mass = state.codebook.new_zeros(books * words)
        mass.index_add_(0, self.index, self.factor.square().reshape(-1))
        curvature = mass.reshape(books, words, 1) * state.moments.diagonal().mean()
        self.curvature = curvature
        self.precondition = torch.where(curvature > 0, 1 / curvature.clamp_min(1e-30), 0.0)

    def apply(self, words: Tensor) -> Tensor:
        """Words [books, K, d] -> weight [O, n]."""
        chosen = words.reshape(-1, self.group)[self.index] * self.factor
        return chosen.reshape(self.outputs, -1)

    def transpose(self, weight: Tensor) -> Tensor:
        """The adjoint: weight [O, n] -> words [books, K, d]."""
        parts = weight.reshape(-1, self.group) * self.factor
        total = parts.new_zeros(self.shape[0] * self.shape[1], self.group)
        return total.index_add_(0, self.index, parts).reshape(self.shape)
