"""Coordinate descent of an even grid's levels and scales under the moments H."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.methods.blocks import inverse_factor, weighted_error

ROUNDS = 3
SWEEPS = 2
PANEL = 128


@dataclass
class GridState:
    """target, levels [O, n]; moments [n, n]; scale [O]; levels lie on low, low + step .. high."""

    target: Tensor
    moments: Tensor
    scale: Tensor
    levels: Tensor
    step: int
    low: int
    high: int

    def snap(self, value: Tensor) -> Tensor:
        """The grid level nearest to ``value``."""
        index = ((value - self.low) / self.step).round()
        return (index * self.step + self.low).clamp(self.low, self.high)

    def loss(self) -> float:
        """tr(E H E^T)."""
        error = self.target - self.levels * self.scale[:, None]
        return float(weighted_error(error, self.moments))


def descend(state: GridState) -> None:
    """The sequential pass, then rounds of scales in closed form and coordinate descent."""
    sequential_pass(state)
    for _ in range(ROUNDS):
        fit_scale(state)
        sweep(state)
    fit_scale(state)


def sequential_pass(state: GridState) -> None:
    """GPTQ's pass, column by column, passed on between panels by one matrix product."""
    upper = inverse_factor(state.moments)
    work, total = state.target.clone(), state.target.shape[1]
    for first in range(0, total, PANEL):
        last = min(first + PANEL, total)
        errors = torch.zeros_like(work[:, first:last])
        for column in range(first, last):
            level = state.snap(work[:, column] / state.scale)
            state.levels[:, column] = level
            error = (work[:, column] - level * state.scale) / upper[column, column]
            errors[:, column - first] = error
            work[:, column + 1 : last] -= error[:, None] * upper[column, column + 1 : last]
        work[:, last:] -= errors @ upper[first:last, last:]


def sweep(state: GridState) -> None:
    """Coordinate descent over single weights, `SWEEPS` times."""
    scale = state.scale[:, None]
    residual = (state.target - state.levels * scale) @ state.moments
    total = state.target.shape[1]
    for _ in range(SWEEPS):
        for first in range(0, total, PANEL):
            last = min(first + PANEL, total)
            local = residual[:, first:last].clone()
            change = torch.zeros_like(local)
            for column in range(first, last):
                row = state.moments[column]
                wanted = local[:, column - first] / (row[column] * state.scale)
                old = state.levels[:, column]
                new = state.snap(old + wanted)
                delta = (new - old) * state.scale
                state.levels[:, column] = new
                change[:, column - first] = delta
                local[:, column - first + 1 :] -= delta[:, None] * row[column + 1 : last]
            residual -= change @ state.moments[first:last]


def fit_scale(state: GridState) -> None:
    """The scale of each output by least squares under H."""
    weighted = state.levels @ state.moments
    energy = (weighted * state.levels).sum(1)
    found = (weighted * state.target).sum(1) / energy.clamp_min(1e-30)
    state.scale = torch.where(energy > 0, found, state.scale).clamp_min(1e-12)
