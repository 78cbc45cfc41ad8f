"""A ternary factorization in training: latent factors, rounded in every forward pass.

Training sees the weight as the file will hold it: X and Y are the rounding of the latent factors, d
is rounded to integers, the product to int8 within its row's range. Gradients pass the roundings
straight through and gather in the latent factors, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from subbyte.methods.coded import CodedWeight, decode_scale
from subbyte.methods.ternary import form
from subbyte.methods.ternary.recovery import balance, recover, ternary
from subbyte.methods.training import TrainableWeight


class TernaryWeight(TrainableWeight):
    """forward() -> weight [O, T, I].

    Parameters: ``latent_left`` [groups, O / groups, k] and ``latent_right`` [groups, k, n],
    balanced; ``log_d`` [groups, k]; ``log_scale`` [O]. The latter is the logarithm of the factor of
    the product X diag(d) Y. The factor of the int8 weight goes with the row's range and would leap
    as codes change.

    ``reference`` [O, T, I]: the weight that the latent factors recover; None: the coded one, and
    the latent factors are X and Y themselves.
    """

    rates: ClassVar[Mapping[str, float]] = {
        "latent_left": 3e-4,
        "latent_right": 3e-4,
        "log_d": 1e-3,
        "log_scale": 1e-3,
    }

    def __init__(self, coded: CodedWeight, reference: Tensor | None = None) -> None:
        super().__init__()
        self.shape = coded.shape
        left, d, right = (torch.from_numpy(array).float() for array in form.factors(coded))
        largest = _largest((left * d[:, None]) @ right)
        scale = torch.from_numpy(decode_scale(coded)).reshape(largest.shape)
        scale = scale * form.LIMIT / largest
        # A term without weight stays one: its logarithm must exist.
        self.log_d = nn.Parameter((d / form.MOST_D).clamp_min(0.25 / form.MOST_D).log())
        self.log_scale = nn.Parameter(scale.log().reshape(-1))
        if reference is not None:
            rows = reference.cpu().reshape(*scale.shape[:2], -1) / scale
            left, right = _recover(rows, left, d, right)
        self.unit_left, self.unit_right = balance(left, right)
        self.latent_left = nn.Parameter(left * self.unit_left)
        self.latent_right = nn.Parameter(right * self.unit_right)

    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """X, whole d and Y, with gradients to the numbers they were rounded from."""
        left, right = self.latent_left / self.unit_left, self.latent_right / self.unit_right
        d = self.log_d.exp() * form.MOST_D
        return (
            left + (ternary(left) - left).detach(),
            d + (d.round().clamp(0, form.MOST_D) - d).detach(),
            right + (ternary(right) - right).detach(),
        )

    def forward(self) -> Tensor:
        """The weight [O, T, I], as the file will hold it but for the scale's float16."""
        left, d, right = self.factors()
        product = (left * d[:, None]) @ right
        unit = _largest(product.detach()) / form.LIMIT
        product = product + ((product / unit).round() * unit - product).detach()
        weight = product.reshape(self.shape.outputs, self.shape.taps, self.shape.inputs)
        return weight * self.log_scale.exp()[:, None, None]

    @torch.no_grad()
    def coded(self) -> CodedWeight:
        """The trained weight, packed."""
        left, d, right = self.factors()
        unit = _largest((left * d[:, None]) @ right) / form.LIMIT
        scale = (self.log_scale.exp() * unit.reshape(-1)).cpu().numpy()
        left, d, right = (value.round().to(torch.int64).cpu() for value in (left, d, right))
        return form.pack(self.shape, left.numpy(), d.numpy(), right.numpy(), scale)


def trainable(
    coded: CodedWeight, *, move: bool = False, reference: Tensor | None = None
) -> TernaryWeight:
    """The module of a coded weight; ``reference`` [O, T, I]: the weight that it recovers."""
    del move
    return TernaryWeight(coded, reference)


def _largest(product: Tensor) -> Tensor:
    """The largest |P| of each row, 1 at least: [..., O, n] -> [..., O, 1]."""
    return product.abs().amax(-1, keepdim=True).clamp_min(1)


@torch.no_grad()
def _recover(rows: Tensor, left: Tensor, d: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Latent factors, group by group, of ``rows`` [groups, O / groups, n]."""
    parts = [recover(*group) for group in zip(rows, left, d, right, strict=True)]
    lefts, rights = zip(*parts, strict=True)
    return torch.stack(lefts), torch.stack(rights)
