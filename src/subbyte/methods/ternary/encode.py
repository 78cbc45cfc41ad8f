"""The ternary encoder: X, d, Y and scales for a target weight and its moments.

Minimises tr((W - What) H (W - What)^T) with What = diag(s) X diag(d) Y:

1. the paper's decomposition, greedy terms and cycles, with H's diagonal as the weight of
   the inputs and each output divided by its rms;
2. rounds of: d by joint least squares, X and Y by coordinate descent under the whole of
   H, scales in closed form (the follow-up's objective and its steps, on moments);
3. d rounded to integers, then scales once more for the weights as the file rounds them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.ternary import descent, form
from subbyte.methods.ternary.decomposition import decompose
from subbyte.methods.ternary.descent import TernaryState
from subbyte.methods.ternary.form import TernaryOptions

CYCLES = 3
ROUNDS = 8


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: TernaryOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32 under ``moments`` H [groups, T*I, T*I].

    A convolution with groups is coded group by group. Deterministic; ``seed`` is not used.
    Raises `OptionError` for a layer too small for the rank.
    """
    del seed
    form.check_rank(shape, options)
    rank = options.terms(shape)
    rows = target.reshape(shape.groups, -1, moments.shape[1])
    states = [fit(rows[p], moments[p], rank) for p in range(shape.groups)]
    parts = [round_state(state) for state in states]
    left, d, right, scale = (torch.stack(list(p)).cpu().numpy() for p in zip(*parts, strict=True))
    return form.pack(
        shape, left.astype("int8"), d.astype("uint8"), right.astype("int8"), scale.reshape(-1)
    )


def fit(target: Tensor, moments: Tensor, rank: int) -> TernaryState:
    """Factors of one group's ``target`` [O, n] under ``moments`` [n, n]."""
    scale = target.square().mean(1).sqrt()
    scale = scale.clamp_min(1e-6 * float(scale.max()) + 1e-12)
    columns = moments.diagonal().clamp_min(1e-30).sqrt()
    found = decompose(target * columns, rank, CYCLES, scale, columns)
    state = TernaryState(target, moments, found.left, found.d, found.right, scale)
    for _ in range(ROUNDS):
        descent.fit_d(state)
        descent.sweep_left(state)
        descent.sweep_right(state)
        descent.fit_d(state)
        descent.fit_scale(state)
    return state


def round_state(state: TernaryState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """X, whole d, Y and the scale [O] that goes with the file's int8 weight."""
    unit = state.d.max().clamp_min(1e-30) / form.MOST_D
    d = (state.d / unit).round()
    product = ((state.left * d) @ state.right).cpu().numpy()
    rounded = torch.from_numpy(form.round_rows(product)).to(state.target)
    start = state.scale * unit * torch.from_numpy(abs(product).max(1)).to(unit) / form.LIMIT
    scale = descent.best_scale(rounded, state.target, state.moments, start)
    return state.left, d, state.right, scale.float()
