"""FFN's full-precision weight recovery and weight balancing.

The ternary factors alone are a poor start for fine-tuning: their losses are final. The recovery
finds full-precision factors that give the weight back better, yet round to the ternary ones:

    min over Xh, Yh of || W - Xh diag(d) Yh ||^2      |Xh - X| < 1/2, |Yh - Y| < 1/2

Fine-tuning then updates Xh and Yh, and computes with their rounding. The balancing scales Xh and Yh
so that their gradients are of one size. The paper's exact rules are not known to us; the solver
(exact block descent) and the balance (equal rms) are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 0.49
ROUNDS = 4


def recover(
    target: Tensor, left: Tensor, d: Tensor, right: Tensor, rounds: int = ROUNDS
) -> tuple[Tensor, Tensor]:
    """Latent factors (Xh [O, k], Yh [k, n]) of ``target`` [O, n] that round to X and Y.

    Every step lowers the error: one term's column of Xh (or row of Yh) in closed form,
    drawn into its box.
    """
    latent_left, latent_right = left.clone(), right.clone()
    for _ in range(rounds):
        _descend(target, latent_left, left, latent_right * d[:, None])
        _descend(target.T, latent_right.T, right.T, (latent_left * d).T)
    return latent_left, latent_right


def _descend(target: Tensor, latent: Tensor, centre: Tensor, basis: Tensor) -> None:
    """One pass over the columns of ``latent`` [m, k] in ``target`` ~ latent @ basis [k, n]."""
    gram = basis @ basis.T
    residual = (target - latent @ basis) @ basis.T
    for j in range(len(basis)):
        if gram[j, j] <= 0:
            continue
        old = latent[:, j].clone()
        new = old + residual[:, j] / gram[j, j]
        latent[:, j] = new.clamp(centre[:, j] - REACH, centre[:, j] + REACH)
        residual -= torch.outer(latent[:, j] - old, gram[j])


def balance(left: Tensor, right: Tensor) -> tuple[float, float]:
    """Factors (lx, ly): lx * Xh and ly * Yh have rms 1, so that one rate of learning serves
    both; rounding divides by them first, and d goes with 1 / (lx ly)."""
    sizes = (float(value.square().mean().sqrt().clamp_min(1e-6)) for value in (left, right))
    first, second = (1 / size for size in sizes)
    return first, second


def ternary(latent: Tensor) -> Tensor:
    """The rounding: the nearest of -1, 0, 1."""
    return latent.round().clamp(-1, 1)
