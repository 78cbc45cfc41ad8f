"""Binarizing inputs to order K: a value as the sum of K scaled signs.

    r_0 = x,  beta_k = mean |r_{k-1}|,  H_k = sign(r_{k-1}),  r_k = r_{k-1} - beta_k H_k
    x ~ sum over k of beta_k H_k,       sign(0) = +1

The mean is taken over one vector. As beta_k H_k is the projection of r_{k-1} on H_k, every
order takes its share away for certain: ||r_k||^2 = ||r_{k-1}||^2 - n beta_k^2 for n values.
Source: HORQ (Li et al., ICCV 2017), sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.nn.binarize import sign

MOST_ORDER = 8
DEFAULT_ORDER = 2

Scales = Literal["column", "pixel", "image"]
SCALES: tuple[Scales, ...] = ("column", "pixel", "image")


def scales_named(name: object) -> Scales:
    """The one of `SCALES` that has this name.

    Raises:
        OptionError: there is none.
    """
    for scales in SCALES:
        if scales == name:
            return scales
    raise OptionError("binary: unknown scales", expected=" or ".join(SCALES), got=name)


@dataclass(frozen=True)
class Binarization:
    """An input as the sum of ``order`` scaled sign tensors.

    ``scales``: the values that share a scale, a ``column`` (the receptive field of an output), a
    ``pixel`` or an ``image``.
    """

    order: int = DEFAULT_ORDER
    scales: Scales = "column"

    def __post_init__(self) -> None:
        if not isinstance(self.order, int) or not 1 <= self.order <= MOST_ORDER:
            raise OptionError(
                "binary: order out of range", expected=f"1 to {MOST_ORDER}", got=self.order
            )
        scales_named(self.scales)

    @property
    def variant(self) -> str:
        """Its name: ``Column2`` and so on."""
        return f"{self.scales.title()}{self.order}"


BINARIZATIONS: Mapping[str, Binarization] = {
    found.variant: found
    for scales in SCALES
    for found in (Binarization(order, scales) for order in range(1, MOST_ORDER + 1))
}
"""All there are, by name."""


def scales_of(values: Tensor, order: int, over: Sequence[int]) -> list[Tensor]:
    """beta_1 .. beta_K of the vectors that run along the dimensions ``over``, kept as 1."""
    rest, found = values, []
    for _ in range(order):
        found.append(rest.abs().mean(tuple(over), keepdim=True))
        rest = rest - found[-1] * sign(rest)
    return found


def binarize_fields(
    fields: Tensor, form: Binarization, image_scales: Sequence[Tensor] | None = None
) -> Tensor:
    """Receptive fields [..., T, I] as the layer sees them: sum over k of scale_k H_k.

    Padding is zeros. ``column``: the vector is the field, scale_k = beta_k. ``pixel``: the
    vector is a tap's I values; scale_k of the field is the mean over its taps of their
    beta_k. ``image``: ``image_scales`` are the beta_k of the whole image (`scales_of`).
    """
    if form.scales == "pixel":
        betas = scales_of(fields, form.order, (-1,))
        scales = [beta.mean(-2, keepdim=True) for beta in betas]
    else:
        betas = list(image_scales or scales_of(fields, form.order, (-1, -2)))
        scales = betas
    rest, total = fields, torch.zeros_like(fields)
    for beta, scale in zip(betas, scales, strict=True):
        signs = sign(rest)
        total = total + scale * signs
        rest = rest - beta * signs
    return total
