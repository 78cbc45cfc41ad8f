"""The binary encoders: the paper's, and coordinate descent against H."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subbyte.methods.binary import form
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.scalar.descent import GridState, descend


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: BinaryOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32 under ``moments`` H [groups, T*I, T*I].

    ``paper``: scale[o] = mean |W[o]|, signs of W (XNOR-Net's closed form, sign(0) = +1).
    ``corrected``: both by descent on tr((W - What) H (W - What)^T), with H of the binarized inputs.
    Deterministic; ``seed`` is not used.
    """
    del seed
    if options.procedure == "paper":
        negative, scale = target < 0, paper_scale(target)
    else:
        negative, scale = _descend(target, moments, shape)
    return form.pack(
        shape,
        options.binarization,
        negative.cpu().numpy(),
        scale.cpu().numpy().astype(np.float32),
    )


def paper_scale(weight: Tensor) -> Tensor:
    """alpha[o] = mean |W[o]|, the best scale of sign(W[o]) where all inputs count alike."""
    return weight.flatten(1).abs().mean(1)


def _descend(target: Tensor, moments: Tensor, shape: WeightShape) -> tuple[Tensor, Tensor]:
    """Signs [O, T, I] (whether negative) and scales [O], group by group."""
    rows = target.reshape(shape.groups, -1, moments.shape[1])
    negative, scale = [], []
    for group, h in zip(rows, moments, strict=True):
        importance = h.diagonal()
        start = (group.abs() @ importance) / importance.sum()
        state = GridState(group, h, start.clamp_min(1e-12), torch.zeros_like(group), 2, -1, 1)
        descend(state)
        negative.append(state.levels < 0)
        scale.append(state.scale)
    return torch.cat(negative).reshape(target.shape), torch.cat(scale)
