"""How far moments from a few samples are to be trusted, judged on samples that they do not hold.

The samples are dealt into folds; all rows of a sample are in one fold, as the rows of one image are
much alike. For every fold f, H and T are the moments of all other samples, H_f and T_f the moments
of the fold about the means of the others. The least trust that makes sense is the float weight with
the best gain for each output, W_o = g_o W (`with_gains`). One number an output is known well from
few samples. Without it, a network whose inputs have lost a part of their variance loses more in
every layer. With H = U diag(l) U^T, m = mean diag H and D = T - W_o H, the damped target
W*(d) = W_o + D U diag(1 / (l + d m)) U^T costs on the fold

    error_f(d) = tr(E H_f E^T) - 2 tr(E (T_f - W_o H_f)^T),    E = W*(d) - W_o,

more than W_o does. One decomposition serves all dampings d.

- *damping*, for the target: the d of least error, summed over the folds.
- *variances*, for the metric: the mean over folds of u_i^T H_f u_i, made to rise with i. The
  smallest l are far too small where samples are few, and an encoder that minimises tr(E H E^T) puts
  its errors there. (Cross-validated eigenvalues: Bartz, "Cross-validation based nonlinear
  shrinkage", 2016.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDS = 5
# Four to a power of ten, from 0.001 to 10.
DAMPINGS = tuple(10 ** (-3 + number / 4) for number in range(17))
# A gain beyond these is an output that the samples hardly move.
LEAST_GAIN, MOST_GAIN = 0.5, 2.0
# Of the mean variance, what each direction has more: inputs may never move in a few samples.
LEAST_VARIANCE = 1e-4


@dataclass(frozen=True)
class Fold:
    """Moments ``moments`` [groups, n, n] and ``cross`` [groups, R, n] of all samples but the
    fold's; ``held_moments`` and ``held_cross`` of the fold's."""

    moments: Tensor
    cross: Tensor
    held_moments: Tensor
    held_cross: Tensor


@dataclass(frozen=True)
class Shrinkage:
    """``damping`` of the target; ``variances`` [groups, n] of the metric, rising."""

    damping: float
    variances: Tensor


def judge(folds: Iterable[Fold], weight: Tensor, dampings: Sequence[float] = DAMPINGS) -> Shrinkage:
    """The damping and the variances that the ``folds`` ask for, ``weight`` [groups, R, n]."""
    errors = np.zeros(len(dampings))
    found: list[Tensor] = []
    for fold in folds:
        values, vectors = _eigh(fold.moments)
        held = vectors.transpose(1, 2) @ fold.held_moments @ vectors
        found.append(held.diagonal(dim1=1, dim2=2).clone())
        errors += _errors(fold, weight, values, vectors, held, dampings)
    variances = torch.stack(found).mean(0)
    rows = np.stack([rising(row) for row in variances.double().cpu().numpy()])
    return Shrinkage(dampings[int(errors.argmin())], torch.from_numpy(rows).to(variances))


def _errors(
    fold: Fold,
    weight: Tensor,
    values: Tensor,
    vectors: Tensor,
    held: Tensor,
    dampings: Sequence[float],
) -> NDArray[np.float64]:
    """error_f of every damping; ``held`` = U^T H_f U."""
    rows = with_gains(weight, fold.moments, fold.cross)
    steps = (fold.cross - rows @ fold.moments) @ vectors
    wanted = (fold.held_cross - rows @ fold.held_moments) @ vectors
    square = steps.transpose(1, 2) @ steps * held
    linear = (steps * wanted).sum(1)
    level = fold.moments.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    found = []
    for damping in dampings:
        shares = 1 / (values.clamp_min(0) + damping * level[:, None])
        quadratic = ((shares[:, None] @ square)[:, 0] * shares).double().sum()
        found.append(float(quadratic - 2 * (shares * linear).double().sum()))
    return np.array(found)


def with_gains(weight: Tensor, moments: Tensor, cross: Tensor) -> Tensor:
    """``weight`` [groups, R, n] with each row times the gain that fits ``cross`` best,
    g = (T w) / (w H w), within `LEAST_GAIN` and `MOST_GAIN`; 1 where the row's output is still."""
    energy = ((weight @ moments) * weight).sum(2)
    gains = (cross * weight).sum(2) / energy.clamp_min(1e-30)
    still = energy <= 1e-9 * energy.max()
    return weight * gains.clamp(LEAST_GAIN, MOST_GAIN).masked_fill(still, 1.0)[:, :, None]


def with_variances(moments: Tensor, variances: Tensor) -> Tensor:
    """``moments`` [groups, n, n] with other ``variances`` [groups, n] along its eigenvectors."""
    _, vectors = _eigh(moments)
    least = LEAST_VARIANCE * variances.mean(1, keepdim=True).clamp_min(1e-12)
    # Rounding may leave a variance of almost nothing below zero.
    found = (vectors * (variances.clamp_min(0) + least)[:, None]) @ vectors.transpose(1, 2)
    return (found + found.transpose(1, 2)) / 2


def _eigh(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [groups, n], rising, and vectors; in float64 where float32 does not converge, or
    ends in NaN, as with many inputs that never move."""
    try:
        values, vectors = torch.linalg.eigh(moments)
        if torch.isfinite(vectors).all():
            return values, vectors
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        pass
    values, vectors = torch.linalg.eigh(moments.double())
    return values.to(moments), vectors.to(moments)


def rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rising sequence nearest to ``values`` in squared error: neighbours out of order become
    their mean."""
    means: list[float] = []
    counts: list[int] = []
    for value in values.tolist():
        means.append(value)
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, count = means.pop(), counts.pop()
            pair = means[-1] * counts[-1] + mean * count
            counts[-1] += count
            means[-1] = pair / counts[-1]
    return np.repeat(means, counts)
