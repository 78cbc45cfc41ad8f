"""The steps of the ternary encoder on tr((W - What) H (W - What)^T).

    What = diag(s) X diag(d) Y,     X [O, k], Y [k, n] in {-1, 0, 1}

Each step holds the rest and lowers the error (the small ridge of `fit_d` aside).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.methods.blocks import relative_error

PANEL = 128
RIDGE = 1e-5
MOST_CLASSES = 64


@dataclass
class TernaryState:
    """target [O, n], moments H [n, n], left X [O, k], d [k], right Y [k, n], scale s [O]."""

    target: Tensor
    moments: Tensor
    left: Tensor
    d: Tensor
    right: Tensor
    scale: Tensor

    def rows(self) -> Tensor:
        """diag(s) X diag(d), [O, k]."""
        return self.left * self.scale[:, None] * self.d

    def weight(self) -> Tensor:
        """The weight that the codes stand for, [O, n]."""
        return self.rows() @ self.right

    def loss(self) -> float:
        """tr(E H E^T) / tr(W H W^T)."""
        error = self.target - self.weight()
        return relative_error(error, self.target, self.moments)


def fit_d(state: TernaryState) -> None:
    """All d at once by least squares; a negative one turns its x round."""
    weighted = state.right @ state.moments
    scaled = state.left * state.scale[:, None]
    gram = (scaled.T @ scaled) * (weighted @ state.right.T)
    wanted = ((scaled.T @ state.target) * weighted).sum(1)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-30)
    d = torch.linalg.solve(gram, wanted)
    state.left = torch.where(d < 0, -state.left, state.left)
    state.d = d.abs()


def fit_scale(state: TernaryState) -> None:
    """s = (q H w) / (q H q) with q the unscaled row; rows it would turn round stay."""
    unscaled = (state.left * state.d) @ state.right
    state.scale = best_scale(unscaled, state.target, state.moments, state.scale)


def best_scale(unscaled: Tensor, target: Tensor, moments: Tensor, scale: Tensor) -> Tensor:
    """The scale [O] of each row in closed form, ``scale`` where there is no positive one."""
    weighted = unscaled @ moments
    energy = (weighted * unscaled).sum(1)
    found = (weighted * target).sum(1) / energy.clamp_min(1e-30)
    return torch.where((energy > 0) & (found > 0), found, scale).clamp_min(1e-12)


def sweep_left(state: TernaryState) -> None:
    """Coordinate descent over X, term by term, all outputs at once: they share one Gram."""
    basis = state.right * state.d[:, None]
    weighted = basis @ state.moments
    gram = weighted @ basis.T
    scale = state.scale
    residual = state.target @ weighted.T - (state.left * scale[:, None]) @ gram
    for j in range(len(basis)):
        if gram[j, j] <= 0:
            continue
        old = state.left[:, j]
        new = (old + residual[:, j] / (gram[j, j] * scale)).round().clamp(-1, 1)
        residual -= torch.outer((new - old) * scale, gram[j])
        state.left[:, j] = new


def sweep_right(state: TernaryState, most_classes: int = MOST_CLASSES, panel: int = PANEL) -> None:
    """Coordinate descent over Y, input by input, for classes of terms at once.

    Terms whose columns of X share no output do not touch each other. Where there are more
    than ``most_classes`` of such classes, some hold terms that do; then each takes the sum
    of its overlaps for its curvature, which still lowers the error (a diagonal bound).
    """
    rows = state.rows()
    gram = rows.T @ rows
    residual = rows.T @ ((state.target - rows @ state.right) @ state.moments)
    for members in term_classes(gram, most_classes):
        overlaps = gram[members][:, members]
        change = _sweep_class(state, members, overlaps, residual[members], panel)
        residual -= gram[:, members] @ (change @ state.moments)


def term_classes(gram: Tensor, most: int = MOST_CLASSES) -> list[Tensor]:
    """Terms with energy, in at most ``most`` classes of small mutual overlap |gram|."""
    overlap = gram.abs()
    found: list[list[int]] = []
    sums = gram.new_zeros(0, len(gram))
    for term in torch.nonzero(gram.diagonal() > 0).flatten().tolist():
        best = int(sums[:, term].argmin()) if len(sums) else 0
        if len(sums) < most and (not len(sums) or sums[best, term] > 0):
            found.append([term])
            sums = torch.cat([sums, overlap[term][None]])
        else:
            found[best].append(term)
            sums[best] += overlap[term]
    return [torch.tensor(members, device=gram.device) for members in found]


def _sweep_class(
    state: TernaryState, members: Tensor, gram: Tensor, residual: Tensor, panel: int
) -> Tensor:
    """One class: residual [c, n] and gram [c, c] -> the change of Y [c, n], made in place."""
    right, total = state.right[members], state.target.shape[1]
    curvature, change = gram.abs().sum(1), torch.zeros_like(right)
    diagonal = state.moments.diagonal()
    for first in range(0, total, panel):
        last = min(first + panel, total)
        local = residual[:, first:last].clone()
        for column in range(first, last):
            old = right[:, column]
            wanted = local[:, column - first] / (curvature * diagonal[column])
            new = (old + wanted).round().clamp(-1, 1)
            delta = new - old
            if not delta.any():
                continue
            change[:, column] = delta
            after = state.moments[column, column + 1 : last]
            local[:, column - first + 1 :] -= torch.outer(gram @ delta, after)
        residual = residual - gram @ (change[:, first:last] @ state.moments[first:last])
    state.right[members] = right + change
    return change
