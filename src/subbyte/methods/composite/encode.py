"""The composite encoders: within a size against H, or the paper's rounding.

``corrected`` (ours): one step s for the layer, as fine as the size allows, and for each output
scale[o] = max(s, max|W[o]| / (2**J - 1)). Under an error that counts all outputs alike,
entropy-coded levels want one step for all. Where that step would leave the J planes, the output's
own range decides. Levels and scales then descend as `scalar`'s do, and s grows until all stored
bytes fit.

``paper``: `planes.decompose` of the matrix, weights only.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods.coded import CodedWeight, WeightShape
from subbyte.methods.composite import form, galois, planes
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.scalar.descent import GridState, descend

HALVINGS = 12
SPARE = 1.1


def encode(
    target: Tensor, moments: Tensor, shape: WeightShape, options: CompositeOptions, seed: int
) -> CodedWeight:
    """Code ``target`` [O, T, I] float32 under ``moments`` H [groups, T*I, T*I].

    Deterministic; ``seed`` is not used. Raises `OptionError` for a layer too small for the
    options.
    """
    del seed
    if options.procedure == "paper":
        return encode_paper(target.cpu().numpy(), shape, options)
    most = form.most_bytes(shape, options)
    if most < form.fixed_bytes(shape):
        raise OptionError(
            "composite: the layer is too small for so few bits",
            expected=f"at least {8 * form.fixed_bytes(shape) / shape.count:.3f}",
            got=options.bits,
        )
    finest = target.flatten(1).abs().amax(1).clamp_min(1e-12) / ((1 << options.planes) - 1)
    step = find_step(target, finest, shape, most)
    while True:
        levels, scale = _descend(target, moments, shape, options, finest.clamp_min(step))
        integers = levels.round().to(torch.int64).cpu().numpy()
        excess = form.stored_bytes(integers, shape, {}) - most
        if excess <= 0:
            break
        step = max(step, float(finest.min())) * 2 ** (SPARE * 8 * excess / shape.count + 1e-3)
    factors = form.choose_factors(form.planes_of(integers, form.matrix_rows(shape)))
    return form.pack(shape, integers, scale.cpu().numpy().astype(np.float32), factors)


def find_step(target: Tensor, finest: Tensor, shape: WeightShape, most: int) -> float:
    """The least step with which plain rounding of ``target`` takes ``most`` bytes or fewer.

    By bisection of its logarithm, up to the step that rounds everything to zero.
    """

    def fits(step: float) -> bool:
        return form.stored_bytes(round_levels(target, finest.clamp_min(step)), shape, {}) <= most

    low, high = float(finest.min()), 2.1 * float(target.abs().max().clamp_min(1e-12))
    if fits(low):
        return low
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def round_levels(target: Tensor, scale: Tensor) -> NDArray[np.int64]:
    """rint(target / scale) for ``target`` [O, T, I] and ``scale`` [O]."""
    return (target / scale[:, None, None]).round().to(torch.int64).cpu().numpy()


def _descend(
    target: Tensor, moments: Tensor, shape: WeightShape, options: CompositeOptions, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Levels [O, T, I] and scales [O] fitted to H from the start ``scale``."""
    high = (1 << options.planes) - 1
    states = []
    for rows, start, moment in zip(
        target.flatten(1).chunk(shape.groups), scale.chunk(shape.groups), moments, strict=True
    ):
        state = GridState(rows, moment, start, torch.zeros_like(rows), 1, -high, high)
        descend(state)
        states.append(state)
    levels = torch.cat([state.levels for state in states]).reshape(target.shape)
    return levels, torch.cat([state.scale for state in states])


def encode_paper(
    target: NDArray[np.floating], shape: WeightShape, options: CompositeOptions
) -> CodedWeight:
    """The paper's planes of ``target`` [O, T, I], with one scale for the layer.

    Planes above the threshold are stored as factors where these take less than the plane
    itself, as in the paper.
    """
    weight = target.astype(np.float64)
    largest = max(float(np.abs(weight).max()), 1e-12)
    relative = np.abs(weight).reshape(form.matrix_rows(shape), -1) / largest
    threshold = planes.find_threshold(relative, options.bottleneck)
    found = planes.decompose(relative, threshold, options.planes)
    codes = found.codes.reshape(weight.shape)
    levels = np.where(weight < 0, -codes, codes)
    factors: form.Factors = {}
    for b, plane in enumerate(form.planes_of(codes, len(relative))):
        most = form.worthwhile_rank(plane, -(-plane.size // 8))
        if b >= found.lower and plane.any() and galois.rank(plane, most) <= most:
            factors[b] = galois.factorize(plane)
    scale = np.full(shape.outputs, largest * found.step, np.float32)
    return form.pack(shape, levels, scale, factors)
