"""Streaming second moments of one layer, and the target they give.

Over sampled output positions, with x^ the layer's input as the compressed network gives
it and t the float network's output before any activation:

    H = Cov(x^, x^) + damping * mean(diag) * I        [groups, n, n]
    T = Cov(t, x^)                                    [groups, O / groups, n]
    W* = (T + damping * mean(diag) * W) H^-1

W* is the weight that best reproduces the float output from the compressed input (Q-CNN's
error correction in closed form); the damping term pulls it toward W where the samples
say little. The bias E[t] - What E[x^] makes up for the means. Where a layer feeds a
residual Add whose other side is already known, t also holds that side's error, so that
it is corrected here too (ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from subbyte.compression.calibration.culprit import check_finite
from subbyte.graph.network import Layer, Weighted

CONV_DAMPING = 0.01
LINEAR_DAMPING = 0.05
MOST_DAMPING = 0.25
# Enough to make H regular; the published procedure has no damping.
PAPER_DAMPING = 1e-4
SAMPLES_DAMPING = 12.5


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
    """Sums over samples for one layer; memory O(n^2 + O n), for any number of samples."""

    def __init__(self, layer: Weighted, device: torch.device, damping: float) -> None:
        self.layer, self._damping = layer, damping
        shape = layer.shape
        # A transposed convolution's taps all see the same pixel: moments over I only.
        self._width = shape.inputs * (1 if layer.op == "ConvTranspose" else shape.taps)
        self._outputs = (
            shape.inputs * shape.groups if layer.op == "ConvTranspose" else shape.outputs
        )
        groups, rows = shape.groups, self._outputs // shape.groups

        def zeros(*size: int) -> Tensor:
            return torch.zeros(*size, device=device)

        self._xx, self._tx = (
            zeros(groups, self._width, self._width),
            zeros(groups, rows, self._width),
        )
        self._x, self._t, self._count = zeros(groups, self._width), zeros(groups, rows), 0
        self._origin_x, self._origin_t = zeros(groups, self._width), zeros(groups, rows)

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Rows x^ [R, groups, n] and t [R, O] (ConvTranspose: the float input rows)."""
        x = inputs.permute(1, 2, 0)
        t = targets.reshape(len(targets), self.layer.shape.groups, -1).permute(1, 2, 0)
        if self._count == 0:
            # Sums of values far from zero would lose their spread to float32's rounding.
            self._origin_x, self._origin_t = x.mean(2), t.mean(2)
        x, t = x - self._origin_x[:, :, None], t - self._origin_t[:, :, None]
        self._xx += x @ x.transpose(1, 2)
        self._tx += t @ x.transpose(1, 2)
        self._x += x.sum(2)
        self._t += t.sum(2)
        self._count += len(inputs)

    def target(self, weight: Tensor, bias: Tensor | None = None) -> Target:
        """W* and H for the float ``weight`` [O, T, I].

        With ``bias`` [O], moments about zero of the inputs and of the responses less the
        bias, for a procedure that lets the bias be.
        """
        shape = self.layer.shape
        for sums in (self._xx, self._tx):
            check_finite(sums, f"layer {self.layer.name!r}")
        mean_x, mean_t = self._x / self._count, self._t / self._count
        covariance = self._xx / self._count
        covariance -= mean_x[:, :, None] * mean_x[:, None, :]
        cross = self._tx / self._count - mean_t[:, :, None] * mean_x[:, None, :]
        if bias is not None:
            mean_x, mean_t = self._origin_x + mean_x, self._origin_t + mean_t
            if self.layer.op != "ConvTranspose":
                mean_t = mean_t - bias.reshape(mean_t.shape)
            covariance += mean_x[:, :, None] * mean_x[:, None, :]
            cross = cross + mean_t[:, :, None] * mean_x[:, None, :]
        level = covariance.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12) * self._damping
        moments = covariance
        moments.diagonal(dim1=1, dim2=2).add_(level[:, None])
        if self.layer.op == "ConvTranspose":
            return self._transposed_target(weight, moments, cross, level)
        rows = weight.reshape(shape.groups, -1, self._width)
        wanted = cross + level[:, None, None] * rows
        solved = torch.linalg.solve(moments, wanted.transpose(1, 2)).transpose(1, 2)
        return Target(solved.reshape(weight.shape), moments)

    def _transposed_target(
        self, weight: Tensor, moments: Tensor, cross: Tensor, level: Tensor
    ) -> Target:
        """W*[o, t] = (W[o, t] G + damping W[o, t]) H^-1 with G = Cov(x, x^), tap by tap."""
        shape = self.layer.shape
        rows = weight.reshape(shape.groups, -1, shape.inputs)
        wanted = rows @ cross + level[:, None, None] * rows
        solved = torch.linalg.solve(moments, wanted.transpose(1, 2)).transpose(1, 2)
        blocks = [torch.block_diag(*[m] * shape.taps) for m in moments]
        return Target(solved.reshape(weight.shape), torch.stack(blocks))

    def bias(self, weight: Tensor, coded: Tensor, bias: Tensor) -> Tensor:
        """The bias [O] that makes the coded layer's mean output the float one's."""
        shape = self.layer.shape
        mean_x = self._origin_x + self._x / self._count
        mean_t = self._origin_t + self._t / self._count
        if self.layer.op != "ConvTranspose":
            rows = coded.reshape(shape.groups, -1, self._width)
            predicted = (rows @ mean_x[:, :, None])[:, :, 0]
            return (mean_t - predicted).reshape(-1)
        assert isinstance(self.layer, Layer)  # noqa: S101 - of the layers alone
        # Each output pixel sees taps / prod(strides) taps on average.
        share = 1.0
        for stride in self.layer.strides:
            share /= stride
        total = weight.sum(1).reshape(shape.groups, -1, shape.inputs)
        coded_total = coded.sum(1).reshape(shape.groups, -1, shape.inputs)
        wanted = (total @ mean_t[:, :, None] - coded_total @ mean_x[:, :, None])[:, :, 0]
        return bias + share * wanted.reshape(-1)
