"""The encoder of coarse steps: descent against H from the largest weight's step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.scalar.descent import GridState, descend
from tests.methods.coarse import form
from tests.methods.coarse.form import CoarseOptions


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: CoarseOptions, seed: int
) -> CodedWeight:
    del seed
    most, states = options.levels, []
    for rows, h in zip(target.flatten(1).chunk(shape.groups), moments, strict=True):
        start = rows.abs().mean(1).clamp_min(1e-12) * 3 / most
        states.append(GridState(rows, h, start, torch.zeros_like(rows), 1, -most, most))
        descend(states[-1])
    levels = torch.cat([state.levels for state in states]).reshape(target.shape)
    scale = torch.cat([state.scale for state in states]).cpu().numpy().astype(np.float32)
    return form.pack(shape, options, levels.round().long().cpu().numpy() + most, scale)
