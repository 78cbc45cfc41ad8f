"""The product encoder: codes, codebooks and scales for a target weight and its moments.

Minimises tr((W - What) H (W - What)^T) with What = scale * gain * word, in four steps. They are
ours, in the spirit of Q-CNN section 3.3. Its error correction is the same objective on samples;
here the samples are already summed up in H.

1. k-means on W / rms, in the metric of the group's mean block of H;
2. one sequential pass in the manner of GPTQ: each block is coded in a metric that already allows
   for the repair by the blocks still to come;
3. rounds of: all codebooks by joint least squares, scales in closed form, codes by coordinate
   descent;
4. the codebook rounded to int8, one more sweep over the codes, scales once more.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subbyte.methods import blocks
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.product import descent, form, integers, qcnn
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.kmeans import kmeans
from subbyte.methods.product.state import ProductState

ROUNDS = 8
SMALL_ROUNDS = 16
SMALL_WEIGHTS = 1 << 17
SWEEPS = 2
KMEANS_STEPS = 20


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: ProductOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32 under ``moments`` H [groups, T*I, T*I].

    A convolution with groups is coded group by group, each with its own codebooks. The
    paper's procedures are `qcnn.encode`'s.
    """
    if options.procedure != "corrected":
        return qcnn.encode(target, moments, shape, options, seed)
    rng = torch.Generator(device=target.device).manual_seed(seed)
    per_group = shape.outputs // shape.groups
    states = [
        _encode_group(target[p * per_group : (p + 1) * per_group], moments[p], options, rng)
        for p in range(shape.groups)
    ]
    factor = integers.common_factor(states)
    for state in states:
        _round_codebook(state, factor)
    return integers.pack(shape, options, states)


def start(
    target: Tensor, moments: Tensor, options: ProductOptions, rng: torch.Generator, steps: int
) -> ProductState:
    """The k-means start for one convolution group: target [O, T, I], moments [T*I, T*I]."""
    outputs, taps, inputs = target.shape
    blocked = blocks.split(target, options.group)
    padded = blocks.pad_moments(moments, taps, inputs, options.group)
    diagonal = blocks.diagonal_blocks(padded, taps, options.group)
    scale = blocked.square().mean((1, 2, 3)).sqrt().clamp_min(1e-12)
    gains = torch.from_numpy(options.gain_levels().astype(np.float32) / form.GAIN_UNIT)
    state = ProductState(
        target=blocked.reshape(outputs, -1),
        moments=padded,
        diagonal=diagonal,
        gains=gains.to(target.device),
        codebook=_codebook(blocked, diagonal, scale, options, gains.to(target.device), rng, steps),
        scale=scale,
        entry=torch.zeros(blocked.shape[:3], dtype=torch.long, device=target.device),
    )
    descent.assign_nearest(state)
    return state


def _codebook(
    blocked: Tensor,
    diagonal: Tensor,
    scale: Tensor,
    options: ProductOptions,
    gains: Tensor,
    rng: torch.Generator,
    steps: int,
) -> Tensor:
    outputs, taps, count, group = blocked.shape
    points = (blocked / scale[:, None, None, None]).permute(2, 0, 1, 3)
    points = points.reshape(count, outputs * taps, group)
    weights = scale.square()[:, None].expand(outputs, taps).reshape(1, -1).expand(count, -1)
    metric = diagonal.mean(0)
    if options.shared:
        points, weights = points.reshape(1, -1, group), weights.reshape(1, -1)
        metric = metric.mean(0, keepdim=True)
    eye = torch.eye(group, device=metric.device, dtype=metric.dtype)
    level = metric.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-20)
    factor = blocks.factor(metric + 1e-6 * level[:, None, None] * eye)
    found = kmeans(points @ factor, weights / weights.mean(), options.words, gains, steps, rng)
    return torch.linalg.solve_triangular(factor, found, upper=False, left=False)


def _encode_group(
    target: Tensor, moments: Tensor, options: ProductOptions, rng: torch.Generator
) -> ProductState:
    state = start(target, moments, options, rng, KMEANS_STEPS)
    descent.sequential_pass(state)
    # The second eight rounds still gain a little, and cost nothing in a small layer.
    for _ in range(SMALL_ROUNDS if target.numel() <= SMALL_WEIGHTS else ROUNDS):
        descent.fit_codebook(state)
        descent.fit_scale(state)
        descent.sweep_codes(state, SWEEPS)
    descent.fit_codebook(state)
    descent.fit_scale(state)
    return state


def _round_codebook(state: ProductState, factor: float) -> None:
    """Round the codebook to int8 and fit codes and scales to the rounded words."""
    integers.round_words(state, factor)
    descent.sweep_codes(state, SWEEPS)
    descent.fit_scale(state)
