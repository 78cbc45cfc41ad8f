"""Dampings, gains and variances by samples that had no part in the moments."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.calibration.estimates.shrinkage import (
    FOLDS,
    LEAST_GAIN,
    MOST_GAIN,
    Fold,
    judge,
    rising,
    with_gains,
    with_variances,
)
from subbyte.compression.calibration.estimates.sums import Sums
from tests.compression.nets import CPU, normal

WIDTH = 24


def covariance(seed: int = 0) -> torch.Tensor:
    """Of inputs some of which vary a hundred times as much as others: [n, n]."""
    turn, _ = np.linalg.qr(normal(seed, WIDTH, WIDTH))
    return torch.from_numpy((turn * np.geomspace(0.1, 10, WIDTH)) @ turn.T).float()


def sums_of(
    samples: int, target: torch.Tensor | None = None, noise: float = 0.0, folds: int = FOLDS
) -> list[Sums]:
    """Eight rows a sample, all almost the same; targets of the weight ``target`` [1, R, n]."""
    factor = torch.linalg.cholesky(covariance())
    weight = torch.zeros(1, 1, WIDTH) if target is None else target
    found = [Sums.zeros(1, weight.shape[1], WIDTH, CPU) for _ in range(folds)]
    for number in range(samples):
        sample = torch.from_numpy(normal(100 + number, WIDTH, 1))
        rows = factor @ (sample + 0.01 * torch.from_numpy(normal(9000 + number, WIDTH, 8)))
        wanted = weight @ rows + noise * torch.from_numpy(
            normal(20000 + number, weight.shape[1], 1)
        )
        found[number % folds] = found[number % folds].with_rows(rows[None], wanted)
    return found


def folds_between(parts: list[Sums]) -> Iterator[Fold]:
    for held in parts:
        others = reduce(add, parts) - held
        yield Fold(*others.covariances(), *held.about(others.means))


def own_variance(parts: list[Sums]) -> torch.Tensor:
    return reduce(add, parts).covariances()[0]


def held_variance(parts: list[Sums]) -> torch.Tensor:
    found = judge(folds_between(parts), torch.zeros_like(parts[0].tx))
    return with_variances(own_variance(parts), found.variances)


def test_many_samples_have_their_own_variance() -> None:
    folds = sums_of(4000)
    own = own_variance(folds)
    torch.testing.assert_close(held_variance(folds), own, atol=0.2, rtol=0.05)


def test_few_samples_are_not_taken_for_all() -> None:
    """30 samples for 24 inputs: the least of their directions have a tenth of the true variance;
    the held-back variance there is about the true one."""
    folds, true = sums_of(30), covariance()
    own, found = own_variance(folds)[0], held_variance(folds)[0]
    _, vectors = torch.linalg.eigh(own)
    few = vectors[:, :4]
    wanted = torch.trace(few.T @ true @ few)
    assert torch.trace(few.T @ own @ few) < 0.25 * wanted
    assert 0.5 * wanted < torch.trace(few.T @ found @ few) < 2 * wanted
    assert torch.linalg.eigvalsh(found).min() > 0


def test_fewer_samples_than_inputs() -> None:
    found = held_variance(sums_of(10))[0]
    assert torch.linalg.eigvalsh(found).min() > 0.05
    torch.testing.assert_close(found, found.T)


def test_inputs_that_never_move_leave_it_regular() -> None:
    parts = [Sums.zeros(2, 3, 6, CPU) for _ in range(FOLDS)]
    for number, part in enumerate(parts):
        rows = torch.from_numpy(normal(number, 2, 6, 50))
        rows[0, 3], rows[1] = 0, 0
        parts[number] = part.with_rows(rows, torch.zeros(2, 3, 50))
    for found in held_variance(parts):
        torch.linalg.cholesky(found)


def test_damping_is_least_where_all_can_be_learned_and_most_where_nothing_can() -> None:
    """Targets of another weight, and targets of the weight itself with much noise."""
    other, weight = (torch.from_numpy(normal(seed, 1, 6, WIDTH)) for seed in (1, 2))
    learned = judge(folds_between(sums_of(400, target=other)), weight)
    assert learned.damping <= 0.01
    still = judge(folds_between(sums_of(30, target=weight, noise=5.0)), weight)
    assert still.damping >= 1


def test_gains_fit_each_output() -> None:
    weight = torch.from_numpy(normal(2, 1, 6, WIDTH))
    gains = torch.tensor([1.0, 0.8, 1.5, 1.2, 0.1, 9.0])
    (sums,) = sums_of(200, target=weight * gains[:, None], folds=1)
    found = with_gains(weight, *sums.covariances())
    wanted = gains.clamp(LEAST_GAIN, MOST_GAIN)
    torch.testing.assert_close(found, weight * wanted[:, None], atol=1e-3, rtol=1e-3)
    still = with_gains(weight, torch.zeros(1, WIDTH, WIDTH), torch.zeros_like(weight))
    torch.testing.assert_close(still, weight)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([3, 2, 1], [2, 2, 2]),
        ([1, 4, 2, 6], [1, 3, 3, 6]),
        ([5, 1, 1, 1], [2, 2, 2, 2]),
    ],
)
def test_rising(values: list[float], wanted: list[float]) -> None:
    np.testing.assert_allclose(rising(np.array(values, np.float64)), wanted)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_rising_keeps_the_sum_and_never_falls(values: list[float]) -> None:
    found = rising(np.array(values))
    assert len(found) == len(values)
    assert (np.diff(found) >= -1e-9).all()
    assert found.sum() == pytest.approx(sum(values), abs=1e-6)


@pytest.mark.parametrize("size", [1.0, 1e-20])
def test_moments_of_few_samples_decompose(size: float) -> None:
    """Most of their eigenvalues are equal: float32 alone may give NaN, or no end."""
    x = size * torch.from_numpy(normal(0, 13, 1024))
    found = with_variances((x.T @ x / 13)[None], torch.ones(1, 1024))
    torch.testing.assert_close(found[0], torch.eye(1024), atol=1e-3, rtol=0)
