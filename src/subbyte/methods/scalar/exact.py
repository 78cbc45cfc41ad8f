"""Weights that lie on a grid already, as training leaves them: found, and coded as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.scalar import form
from subbyte.methods.scalar.form import BITS, Grid

TOLERANCE = 1e-4
"""The loss of folding a normalization into a weight in float32, in units of the scale."""


@dataclass(frozen=True)
class Found:
    """The grid of a weight: integer ``levels`` [O, n] and ``scale`` [O] float32."""

    bits: int
    grid: Grid
    levels: Tensor
    scale: Tensor


def least_bits(weight: Tensor) -> int | None:
    """The fewest of 2, 3 and 4 bits whose grids hold ``weight`` [O, T, I]; None if none does."""
    return next((bits for bits in BITS if bits < 8 and find_grid(weight, bits)), None)


def encode_exact(weight: Tensor, shape: WeightShape, bits: int) -> CodedWeight:
    """Code ``weight`` [O, T, I] as it is, but for the rounding of its scales to float16.

    A scale below 2**-14 of the layer's largest is raised to that (`coded.pack_scale`).

    Raises:
        OptionError: the weight lies on neither grid of so many bits.
    """
    found = find_grid(weight, bits)
    if found is None:
        raise OptionError(
            f"scalar: the weights lie on no grid of {bits} bits",
            expected=f"whole multiples of a scale per output, {1 << bits} different ones",
        )
    return form.pack(
        shape,
        bits,
        found.grid,
        found.levels.reshape(weight.shape).to(torch.int64).cpu().numpy(),
        found.scale.cpu().numpy().astype(np.float32),
    )


def find_grid(weight: Tensor, bits: int) -> Found | None:
    """Levels and scales with scale[o] * level = weight [O, ...] to `TOLERANCE` * scale[o].

    Of the two grids of `form`, the one with zero first: (-1, 0, 1) is a part of it, and a layer of
    1 and -1 alone lies on both. An output's largest magnitude is some level k: every k is tried,
    the smallest that fits is taken. Outputs that are all zero lie on that grid with any scale.
    """
    rows = weight.flatten(1).double()
    grids: tuple[Grid, ...] = ("zero", "even")
    for grid in grids:
        found = _on_grid(rows, bits, grid)
        if found is not None:
            return found
    return None


def _on_grid(rows: Tensor, bits: int, grid: Grid) -> Found | None:
    step, low = form.grid_map(bits, grid)
    high = low + step * ((1 << bits) - 1)
    largest = rows.abs().amax(1)
    scale = torch.zeros_like(largest)
    for k in range(1, max(-low, high) + 1):
        trial = largest / k
        units = rows / trial.clamp_min(1e-300)[:, None]
        index = ((units - low) / step).round()
        level = index * step + low
        fits = ((units - level).abs() <= TOLERANCE) & (level >= low) & (level <= high)
        scale = torch.where((scale == 0) & fits.all(1), trial, scale)
    dead = largest == 0
    if bool(((scale == 0) & ~dead).any()) or bool((dead & (grid == "even")).any()):
        return None
    scale = torch.where(dead, scale.max().clamp_min(1e-12), scale)
    levels = ((rows / scale[:, None] - low) / step).round() * step + low
    return Found(bits, grid, levels, _refined(rows, levels, scale).float())


def _refined(rows: Tensor, levels: Tensor, scale: Tensor) -> Tensor:
    """The least squares scale of each row for its levels."""
    energy = levels.square().sum(1)
    return torch.where(energy > 0, (rows * levels).sum(1) / energy.clamp_min(1), scale)
