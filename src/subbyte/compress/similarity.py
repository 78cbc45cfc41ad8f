"""How far one network's outputs are from another's: the one measure of harm.

For class scores [N, C], C > 1: KL(softmax(wanted) || softmax(got)), mean over samples. For any
other output: squared error over the wanted output's variance. Several outputs add up; those of
integers, as the index of the best class is, count only where there are no others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def divergence(wanted: tuple[Tensor, ...], got: tuple[Tensor, ...]) -> Tensor:
    """The harm as a scalar tensor, differentiable in ``got`` where that is not integers."""
    total = torch.zeros((), device=wanted[0].device)
    for ours, theirs in compared(wanted, got):
        total = total + (_kl(ours, theirs) if are_scores(ours) else _relative(ours, theirs))
    return total


def compared(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The pairs of outputs that count."""
    pairs = list(zip(wanted, got, strict=True))
    return [pair for pair in pairs if pair[0].is_floating_point()] or pairs


def are_scores(output: Tensor) -> bool:
    """Whether an output is taken for class scores."""
    return output.ndim == 2 and output.shape[1] > 1 and output.is_floating_point()


def _kl(wanted: Tensor, got: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        got.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
    )


def _relative(wanted: Tensor, got: Tensor) -> Tensor:
    if not wanted.is_floating_point():
        wanted, got = wanted.double(), got.double()
    variance = wanted.var(correction=0).clamp_min(1e-12)
    return (got - wanted).square().mean() / variance
