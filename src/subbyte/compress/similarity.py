"""How far one network's outputs are from another's: the one measure of harm.

For class scores [N, C]: KL(softmax(wanted) || softmax(got)), mean over samples. For any
other output: squared error over the wanted output's variance. Several outputs add up.
"""

from __future__ import annotations

import torch
from torch import Tensor


def divergence(wanted: tuple[Tensor, ...], got: tuple[Tensor, ...]) -> Tensor:
    """The harm as a scalar tensor, differentiable in ``got``."""
    total = torch.zeros((), device=wanted[0].device)
    for ours, theirs in zip(wanted, got, strict=True):
        if not ours.is_floating_point():
            continue
        total = total + (_kl(ours, theirs) if ours.ndim == 2 else _relative(ours, theirs))
    return total


def _kl(wanted: Tensor, got: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        got.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
    )


def _relative(wanted: Tensor, got: Tensor) -> Tensor:
    variance = wanted.var(correction=0).clamp_min(1e-12)
    return (got - wanted).square().mean() / variance
