"""Streaming second moments of one layer, and the target they give.

Over sampled output positions, with x^ the layer's input as the compressed network gives
it and t the float network's output before any activation:

    H = Cov(x^, x^) + damping * mean(diag) * I        [groups, n, n]
    T = Cov(t, x^)                                    [groups, O / groups, n]
    W* = (T + damping * mean(diag) * W) H^-1

W* is the weight that best reproduces the float output from the compressed input (Q-CNN's
error correction in closed form); the damping term pulls it toward W where the samples
say little. Where rows are dealt into folds, held-back samples say how far it does, and in
which metric a coded weight's error counts (`shrinkage`). The bias E[t] - What E[x^] makes
up for the means. Where a layer feeds a residual Add whose other side is already known, t
also holds that side's error, so that it is corrected here too (ours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from subbyte.compression.calibration.culprit import check_finite
from subbyte.compression.calibration.estimates.shrinkage import (
    FOLDS,
    Fold,
    judge,
    with_gains,
    with_variances,
)
from subbyte.compression.calibration.estimates.sums import Sums
from subbyte.graph import query
from subbyte.graph.network import Layer, Weighted

CONV_DAMPING = 0.01
LINEAR_DAMPING = 0.05
MOST_DAMPING = 0.25
# Enough to make H regular; the published procedure has no damping.
PAPER_DAMPING = 1e-4
SAMPLES_DAMPING = 12.5
WIDE = 2048
"""Inputs of a layer above which nothing is judged: a decomposition takes n^3 steps, minutes for
8,192 inputs."""


@dataclass(frozen=True)
class Target:
    """target [O, T, I] = W*; moments H [groups, T*I, T*I], damped."""

    weight: Tensor
    moments: Tensor


def damping_of(layer: Weighted, samples: int) -> float:
    """More for linear layers, which see few rows, and the more the fewer samples there are.

    The positions of one sample are much alike, so it is samples that count. Measured:
    with 64 images (a YOLO) 0.2 does best, with 250 (MobileNetV1) 0.05 to 0.2, with 1,000
    (ResNet-20) anything from 0.001 to 0.05.
    """
    kernel = layer.op in ("Conv", "ConvTranspose")
    base = CONV_DAMPING if kernel else LINEAR_DAMPING
    return min(MOST_DAMPING, max(base, SAMPLES_DAMPING / samples))


class Moments:
    """Sums over samples for one layer; memory O(n^2 + O n), for any number of samples.

    ``damping``: of target and metric. ``folded``: `add` is told the folds of its rows, and both are
    shrunk as far as rows that they were not made from ask for (`shrinkage`).
    """

    def __init__(
        self, layer: Weighted, device: torch.device, damping: float, folded: bool = False
    ) -> None:
        self.layer, self._damping = layer, damping
        shape = layer.shape
        # A transposed convolution's taps all see the same pixel: moments over I only.
        self._transposed = layer.op == "ConvTranspose"
        width = shape.inputs * (1 if self._transposed else shape.taps)
        outputs = shape.inputs * shape.groups if self._transposed else shape.outputs
        rows = outputs // shape.groups
        count = FOLDS if folded and width <= WIDE else 1
        self._sums = [Sums.zeros(shape.groups, rows, width, device) for _ in range(count)]
        self._origin_x = torch.zeros(shape.groups, width, device=device)
        self._origin_t = torch.zeros(shape.groups, rows, device=device)

    def add(self, inputs: Tensor, targets: Tensor, folds: Tensor | None = None) -> None:
        """Rows x^ [R, groups, n] and t [R, O] (ConvTranspose: the float input rows).

        ``folds`` [R]: the fold of each row; None: the first.
        """
        x = inputs.permute(1, 2, 0)
        t = targets.reshape(len(targets), self.layer.shape.groups, -1).permute(1, 2, 0)
        if not any(sums.count for sums in self._sums):
            # Sums of values far from zero would lose their spread to float32's rounding.
            self._origin_x, self._origin_t = x.mean(2), t.mean(2)
        x, t = x - self._origin_x[:, :, None], t - self._origin_t[:, :, None]
        if folds is None:
            self._sums[0] = self._sums[0].with_rows(x, t)
            return
        folds = folds.clamp_max(len(self._sums) - 1)
        for fold in folds.unique().tolist():
            own = folds == fold
            self._sums[fold] = self._sums[fold].with_rows(x[:, :, own], t[:, :, own])

    def target(self, weight: Tensor, bias: Tensor | None = None) -> Target:
        """W* and H for the float ``weight`` [O, T, I].

        With ``bias`` [O], moments about zero of the inputs and of the responses less the
        bias, for a procedure that lets the bias be.
        """
        total = self._total()
        for sums in (total.xx, total.tx):
            check_finite(sums, f"layer {self.layer.name!r}")
        moments, cross = total.covariances()
        if bias is not None:
            mean_x, mean_t = self._means(total)
            if not self._transposed:
                mean_t = mean_t - bias.reshape(mean_t.shape)
            moments += mean_x[:, :, None] * mean_x[:, None, :]
            cross = cross + mean_t[:, :, None] * mean_x[:, None, :]
        rows = weight.reshape(len(moments), -1, moments.shape[1])
        cross, damping, metric = self._cross(cross, rows), self._damping, moments
        if self._judged():
            found = judge(self._folds(rows), rows)
            damping, metric = found.damping, with_variances(moments, found.variances)
            rows = with_gains(rows, moments, cross)
        level = moments.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12) * damping
        moments.diagonal(dim1=1, dim2=2).add_(level[:, None])
        wanted = cross + level[:, None, None] * rows
        solved = torch.linalg.solve(moments, wanted.transpose(1, 2)).transpose(1, 2)
        if self._transposed:
            blocks = [torch.block_diag(*[m] * self.layer.shape.taps) for m in metric]
            metric = torch.stack(blocks)
        return Target(solved.reshape(weight.shape), metric)

    def _total(self) -> Sums:
        return reduce(add, self._sums)

    def _means(self, total: Sums) -> tuple[Tensor, Tensor]:
        mean_x, mean_t = total.means
        return self._origin_x + mean_x, self._origin_t + mean_t

    def _cross(self, cross: Tensor, rows: Tensor) -> Tensor:
        """T [groups, R, n]; of a transposed convolution, whose targets are inputs, W Cov(x, x^),
        tap by tap."""
        return rows @ cross if self._transposed else cross

    def _judged(self) -> bool:
        return sum(sums.count > 0 for sums in self._sums) > 1

    def _folds(self, rows: Tensor) -> Iterator[Fold]:
        """The folds with rows."""
        total = self._total()
        filled = [sums for sums in self._sums if sums.count]
        for held in filled:
            others = total - held
            moments, cross = others.covariances()
            held_moments, held_cross = held.about(others.means)
            yield Fold(
                *(moments, self._cross(cross, rows)), held_moments, self._cross(held_cross, rows)
            )

    def bias(self, weight: Tensor, coded: Tensor, bias: Tensor) -> Tensor:
        """The bias [O] that makes the coded layer's mean output the float one's."""
        shape = self.layer.shape
        mean_x, mean_t = self._means(self._total())
        if not self._transposed:
            rows = coded.reshape(shape.groups, -1, mean_x.shape[1])
            predicted = (rows @ mean_x[:, :, None])[:, :, 0]
            return (mean_t - predicted).reshape(-1)
        assert isinstance(self.layer, Layer)  # noqa: S101 - of the layers alone
        shares = tap_shares(self.layer).to(weight)[:, None]
        total = (weight * shares).sum(1).reshape(shape.groups, -1, shape.inputs)
        coded_total = (coded * shares).sum(1).reshape(shape.groups, -1, shape.inputs)
        wanted = (total @ mean_t[:, :, None] - coded_total @ mean_x[:, :, None])[:, :, 0]
        return bias + wanted.reshape(-1)


def tap_shares(layer: Layer) -> Tensor:
    """The share of output pixels that each tap of a transposed convolution adds to: [T].

    The output's rim, and the pixels that pads crop, count where the sizes are known. Elsewhere it
    is one over the strides, as in the middle of a large map.
    """
    sizes = query.static_sizes(layer.node.inputs[0]), query.static_sizes(layer.node.outputs[0])
    shares = torch.ones(1)
    for axis, (kernel, stride, dilation) in enumerate(
        zip(layer.kernel_shape, layer.strides, layer.dilations, strict=True)
    ):
        into, out = (None if known is None else known[2 + axis] for known in sizes)
        of_axis = torch.full((kernel,), 1 / stride)
        if into is not None and out is not None and layer.pads:
            places = torch.arange(into) * stride - layer.pads[axis]
            places = places + torch.arange(kernel)[:, None] * dilation
            of_axis = ((places >= 0) & (places < out)).sum(1) / out
        shares = (shares[:, None] * of_axis).reshape(-1)
    return shares
