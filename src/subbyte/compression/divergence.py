"""How far one network's outputs are from another's: the one measure of divergence.

For class scores [N, C], C > 1: KL(softmax(wanted) || softmax(got)), mean over samples. For any
other output: squared error over the wanted output's variance. Several outputs add up. Integers, as
the index of the best class is, count only where there are no other outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import OptionError


def divergence(wanted: tuple[Tensor, ...], got: tuple[Tensor, ...]) -> Tensor:
    """The divergence of a batch as a scalar tensor, differentiable in ``got`` where that is float.

    The variance is the batch's; for a single number its square takes its place.
    """
    total = torch.zeros((), device=wanted[0].device)
    for ours, theirs in compared(wanted, got):
        total = total + (_kl(ours, theirs) if are_scores(ours) else _relative(ours, theirs))
    return total


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    """One value, or several, as a tuple."""
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def compared(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The pairs of outputs that count."""
    pairs = list(zip(wanted, got, strict=True))
    return [pair for pair in pairs if pair[0].is_floating_point()] or pairs


def are_scores(output: Tensor) -> bool:
    """Whether an output is taken for class scores."""
    return output.ndim == 2 and output.shape[1] > 1 and output.is_floating_point()


def _kl(wanted: Tensor, got: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        got.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
    )


def _relative(wanted: Tensor, got: Tensor) -> Tensor:
    if not wanted.is_floating_point():
        wanted, got = wanted.double(), got.double()
    if wanted.numel() == 1:
        return (got - wanted).square().mean() / wanted.square().mean().clamp_min(1e-12)
    variance = wanted.var(correction=0).clamp_min(1e-12)
    return (got - wanted).square().mean() / variance


def check_gradient(loss: Tensor, where: str | None = None) -> None:
    """Raise `OptionError` where nothing can be trained by ``loss``, as of outputs that are
    rounded to integers."""
    if not loss.requires_grad:
        raise OptionError("outputs have no gradient to train by", where=where)


class Distance:
    """D(f, s) over batches: `divergence` with the variance over all samples."""

    measure = "kl"
    _scores: Sequence[bool] = ()

    def sums(self, exact: Sequence[Tensor], other: Sequence[Tensor]) -> NDArray[np.float64]:
        """For every output the sums that `of` takes, of a batch; over all batches they add up.

        [outputs, 4]: of scores KL and count, else squared error, count, sum and sum of squares.
        """
        pairs = compared(exact, other)
        self._scores = [are_scores(a) for a, _ in pairs]
        self.measure = "kl" if self._scores == [True] else "error"
        return np.array([kl_sums(a, b) if are_scores(a) else squares(a, b) for a, b in pairs])

    def of(self, sums: NDArray[np.float64]) -> float:
        """D of sums [outputs, 4]."""
        return float(self.of_each(sums[None])[0])

    def of_each(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """D of every sample, from sums of samples [N, outputs, 4]: D of all is the mean."""
        found = np.zeros(len(sums))
        with np.errstate(invalid="ignore", over="ignore"):
            total = sums.sum(axis=0)
            for number, scores in enumerate(self._scores):
                mean = sums[:, number, 0] / np.maximum(sums[:, number, 1], 1e-30)
                found += mean if scores else mean / _variance(total[number])
        return found


def of_one(outputs: Sequence[Tensor], number: int, count: int) -> list[Tensor]:
    """The part of ``outputs``, of a batch of ``count`` samples, that is of sample ``number``.

    Outputs that are not of samples belong to each.
    """
    found = []
    for output in outputs:
        rows, left = divmod(output.shape[0], count) if output.ndim else (0, 1)
        whole = left or not rows
        found.append(output if whole else output[number * rows : (number + 1) * rows])
    return found


def kl_sums(exact: Tensor, other: Tensor) -> list[float]:
    """KL(softmax(exact) || softmax(other)) of scores [N, C] summed over N, in nats; N; 0; 0."""
    p, q = (values.double().log_softmax(1) for values in (exact, other))
    return [float((p.exp() * (p - q)).sum()), float(len(p)), 0.0, 0.0]


def squares(exact: Tensor, other: Tensor) -> list[float]:
    """Sums over all entries: squared error, count, ``exact``, its squares."""
    exact, other = exact.double(), other.double()
    return [energy(other - exact), float(exact.numel()), float(exact.sum()), energy(exact)]


def squares_of_each(exact: Sequence[Tensor], other: Sequence[Tensor]) -> NDArray[np.float64]:
    """`squares` of every output that counts [outputs, 4], of entries that are finite in both; zeros
    where two differ in shape, as outputs may whose shape depends on values."""
    found = []
    for ours, theirs in compared(exact, other):
        if ours.shape != theirs.shape:
            found.append([0.0, 0.0, 0.0, 0.0])
            continue
        finite = ours.isfinite() & theirs.isfinite()
        found.append(squares(ours[finite], theirs[finite]))
    return np.array(found)


def relative_errors(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared error over variance of every output, from sums [outputs, 4] over all samples."""
    return np.array([each[0] / max(each[1], 1.0) / _variance(each) for each in sums])


def _variance(sums: NDArray[np.float64]) -> float:
    _, count, total, squares = sums
    count = max(count, 1.0)
    return float(max(squares / count - (total / count) ** 2, 1e-12))


def ratio(sums: NDArray[np.float64]) -> float:
    """The quotient of a summed pair."""
    return float(sums[0] / max(sums[1], 1e-30))


def energy(values: Tensor) -> float:
    """The sum of squares."""
    return float(values.double().square().sum())
