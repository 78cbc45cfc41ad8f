"""The grids of two bits that the soft stage pulls weights to, and the scales that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FIT_ROUNDS = 10


@dataclass(frozen=True)
class Levels:
    """The values scale * (low, low + step .. high). ``start``: the scale, over the root mean
    square of the weights, that is best for normal ones (Max, 1960)."""

    step: int
    low: int
    high: int
    start: float


LEVELS: Mapping[str, Levels] = {
    "ternary": Levels(1, -1, 1, 1.224),
    "uniform4": Levels(2, -3, 3, 0.498),
}


def nearest(weights: Sequence[Tensor], scales: Sequence[Tensor], levels: Levels) -> list[Tensor]:
    """The level nearest to each weight over its scale; whole numbers, of the weights' type."""
    shift = (levels.low / levels.step) % 1
    found = [w / (levels.step * s) for w, s in zip(weights, scales, strict=True)]
    if shift:
        torch._foreach_sub_(found, shift)
    torch._foreach_round_(found)
    torch._foreach_clamp_min_(found, levels.low / levels.step - shift)
    torch._foreach_clamp_max_(found, levels.high / levels.step - shift)
    if shift:
        torch._foreach_add_(found, shift)
    if levels.step != 1:
        torch._foreach_mul_(found, levels.step)
    return found


def start_scale(weight: Tensor, axes: Sequence[int], levels: Levels) -> Tensor:
    """The scale of ``weight``, one for all entries that ``axes`` span.

    `FIT_ROUNDS` rounds of `refit` start from the scale of normal weights. The dimensions are kept,
    so that the scale broadcasts.
    """
    scale = levels.start * weight.square().mean(tuple(axes), keepdim=True).sqrt()
    # A dead output has no scale of its own; its weights are near zero under any.
    scale = torch.where(scale > 0, scale, scale.max().clamp_min(1e-12))
    for _ in range(FIT_ROUNDS):
        scale = refit(weight, scale, axes, levels)
    return scale


def refit(weight: Tensor, scale: Tensor, axes: Sequence[int], levels: Levels) -> Tensor:
    """The least squares scale sum(w l) / sum(l l) for the levels l nearest under ``scale``."""
    (found,) = nearest([weight], [scale], levels)
    energy = found.square().sum(tuple(axes), keepdim=True)
    best = (weight * found).sum(tuple(axes), keepdim=True) / energy.clamp_min(1)
    return torch.where(energy > 0, best, scale)


class Distance(torch.autograd.Function):
    """strength / 2 * sum ||w - q(w)||^2 over all weights; gradient strength * (w - q(w)).

    q is piecewise constant: its derivative is zero wherever it has one. The backward pass needs
    only the differences of the forward pass, so it costs one multiplication a weight.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        strength: float,
        scales: Sequence[Tensor],
        levels: Levels,
        *weights: Tensor,
    ) -> Tensor:
        """The penalty, a scalar."""
        nearby = nearest(weights, scales, levels)
        torch._foreach_mul_(nearby, list(scales))
        rest = torch._foreach_sub(list(weights), nearby)
        ctx.save_for_backward(*rest)
        ctx.strength = strength  # type: ignore[attr-defined]
        norms = torch.stack(list(torch._foreach_norm(rest)))
        return 0.5 * strength * norms.square().sum()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[object, ...]:
        """One gradient a weight."""
        rest = ctx.saved_tensors  # type: ignore[attr-defined]
        factor = grads[0] * ctx.strength  # type: ignore[attr-defined]
        return None, None, None, *torch._foreach_mul(list(rest), factor)


class GridWeight(nn.Module):
    """A parametrization: the weight is exp(log_scale) * levels, for any latent weight.

    Parameter: ``log_scale``, of the scale's shape. Buffer: ``levels`` int8, of the weight's.
    """

    levels: Tensor

    def __init__(self, levels: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(scale.log())
        self.register_buffer("levels", levels.to(torch.int8))

    def forward(self, latent: Tensor) -> Tensor:
        """The weight; ``latent`` lends it its type."""
        return self.levels.to(latent.dtype) * self.log_scale.exp()
