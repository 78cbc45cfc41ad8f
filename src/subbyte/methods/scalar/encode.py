"""The scalar encoders: coordinate descent against H, and rounding for 8 bits in integer layers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.scalar import form
from subbyte.methods.scalar.descent import GridState, descend
from subbyte.methods.scalar.exact import encode_exact
from subbyte.methods.scalar.form import Grid, ScalarOptions

STEP_CANDIDATES = 40
PAIR_LIMIT = 127


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: ScalarOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32 under ``moments`` H [groups, T*I, T*I].

    2 to 4 bits: both grids of `form` are tried, the one with the smaller tr((W - What) H (W -
    What)^T) is kept. 8 bits: `_encode_rounded`. With ``exact`` the weight's own grid, for any H.
    Deterministic; ``seed`` is not used.
    """
    if options.bits == 8:
        return _encode_rounded(target, shape)
    return encode_unpacked(target, moments, shape, options, seed)


def encode_unpacked(
    target: Tensor, moments: Tensor, shape: WeightShape, options: ScalarOptions, seed: int
) -> CodedWeight:
    """`encode` for weights that no kernel multiplies as integers: 8 bits by descent too, over the
    whole of -127 .. 127."""
    del seed
    if options.exact:
        return encode_exact(target, shape, options.bits)
    grids: tuple[Grid, ...] = ("zero",) if options.bits == 8 else ("even", "zero")
    found = [(grid, _encode_grid(target, moments, shape, options.bits, grid)) for grid in grids]
    grid, states = min(found, key=lambda item: sum(state.loss() for state in item[1]))
    levels = torch.cat([state.levels for state in states]).reshape(target.shape)
    scale = torch.cat([state.scale for state in states])
    return form.pack(
        shape,
        options.bits,
        grid,
        levels.round().to(torch.int64).cpu().numpy(),
        scale.cpu().numpy().astype(np.float32),
    )


def _encode_grid(
    target: Tensor, moments: Tensor, shape: WeightShape, bits: int, grid: Grid
) -> list[GridState]:
    per_group = shape.outputs // shape.groups
    states = []
    for p in range(shape.groups):
        rows = target[p * per_group : (p + 1) * per_group].reshape(per_group, -1)
        state = _start(rows, moments[p], bits, grid)
        descend(state)
        states.append(state)
    return states


def _start(target: Tensor, moments: Tensor, bits: int, grid: Grid) -> GridState:
    """Per-channel scale from `STEP_CANDIDATES` shares of the largest weight, by diag(H)."""
    step, low = form.grid_map(bits, grid)
    high = low + step * ((1 << bits) - 1)
    low = max(low, -127)
    state = GridState(
        target, moments, target.new_ones(len(target)), torch.zeros_like(target), step, low, high
    )
    largest = target.abs().amax(1).clamp_min(1e-12) / max(-low, high)
    best = torch.full_like(largest, torch.inf)
    importance = moments.diagonal()[None]
    for share in torch.linspace(0.25, 1.0, STEP_CANDIDATES):
        scale = largest * share.item()
        error = target - state.snap(target / scale[:, None]) * scale[:, None]
        cost = (error.square() * importance).sum(1)
        state.scale = torch.where(cost < best, scale, state.scale)
        best = torch.minimum(cost, best)
    return state


def _encode_rounded(target: Tensor, shape: WeightShape) -> CodedWeight:
    """8 bits: the finest per-channel step that keeps integer kernels exact.

    Products uint8 x int8 of two neighbouring weights are summed in 16 bits by runtimes on
    CPUs without VNNI: 255 * (|a| + |b|) <= 32767 for neighbours of one sign asks for
    |a| + |b| <= 128. Neighbours are consecutive inputs in either memory order
    ((tap, channel) and (channel, tap)); 127 leaves room for the two roundings.
    """
    flat = target.reshape(len(target), -1)
    largest = flat.abs().amax(1) / 127
    step = torch.maximum(largest, _pair_sum(flat) / PAIR_LIMIT)
    other = target.transpose(1, 2).reshape(len(target), -1)
    step = torch.maximum(step, _pair_sum(other) / PAIR_LIMIT).clamp_min(1e-12)
    levels = (target / step[:, None, None]).round().clamp(-127, 127)
    return form.pack(
        shape,
        8,
        "zero",
        levels.to(torch.int64).cpu().numpy(),
        step.cpu().numpy().astype(np.float32),
    )


def _pair_sum(rows: Tensor) -> Tensor:
    """Largest |a + b| over neighbours of one sign, per row [O]."""
    if rows.shape[1] < 2:
        return rows.abs().amax(1)
    left, right = rows[:, :-1], rows[:, 1:]
    same = (left * right) > 0
    return torch.where(same, (left + right).abs(), 0.0).amax(1)
