"""Ternary factors: the decomposition against the known figures, descent, packing, recovery."""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import OptionError
from subbyte.methods import WeightShape, decode_weight
from subbyte.methods.coded import decode_scale
from subbyte.methods.ternary import descent, encode, form, trits
from subbyte.methods.ternary.decomposition import decompose, ternary_step
from subbyte.methods.ternary.form import TernaryOptions, rank_of
from subbyte.methods.ternary.recovery import balance, recover, ternary
from subbyte.methods.ternary.trainable import TernaryWeight
from tests.methods.cases import random_problem

SHAPE = WeightShape(16, 4, 6)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(-1, 1), max_size=64))
def test_digits_come_back(digits: list[int]) -> None:
    packed = trits.pack(digits)
    assert packed.nbytes == trits.stored_bytes(len(digits))
    assert trits.unpack(packed, len(digits)).tolist() == digits


def test_other_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="-1, 0 or 1"):
        trits.pack([0, 2])


@settings(deadline=None)
@given(st.integers(0, 2**16), st.booleans())
def test_the_step_is_exact(seed: int, weighted: bool) -> None:
    """Against all 3^6 vectors."""
    rng = np.random.default_rng(seed)
    linear = rng.standard_normal(6)
    energy = rng.uniform(0.1, 2, 6) if weighted else np.ones(6)
    every = np.array(list(itertools.product((-1, 0, 1), repeat=6)))
    every = every[every.any(1)]
    best = ((every @ linear) ** 2 / (every**2 @ energy)).max()
    weight = torch.from_numpy(energy) if weighted else None
    x = ternary_step(torch.from_numpy(linear), weight).numpy()
    assert (x @ linear) ** 2 / (x**2 @ energy) == pytest.approx(best)


@pytest.mark.parametrize(
    ("size", "cycles", "known"),
    [
        ((64, 576), 5, {1: 0.234, 2: 0.200, 5: 0.191}),
        ((256, 256), 2, {1: 0.061, 2: 0.058}),
    ],
)
def test_known_errors_of_gaussian_matrices(
    size: tuple[int, int], cycles: int, known: dict[int, float]
) -> None:
    target = normal(*size)
    errors: list[float] = []
    found = decompose(
        target,
        min(size),
        cycles,
        after_cycle=lambda rest: errors.append(float(rest.square().sum())),
    )
    total = float(target.square().sum())
    for cycle, error in known.items():
        assert errors[cycle - 1] / total == pytest.approx(error, rel=0.06)
    assert errors == sorted(errors, reverse=True)
    left = float((target - found.product()).square().sum())
    assert left == pytest.approx(errors[-1], rel=1e-3)
    zeros = torch.cat([found.left.flatten(), found.right.flatten()]).eq(0).float().mean()
    assert 0.35 < zeros < 0.55


def test_weights_of_rows_and_columns_change_the_metric() -> None:
    target, rows, columns = normal(8, 20), normal(8, seed=1).abs() + 0.1, torch.ones(20)
    columns[:5] = 5.0
    found = decompose(target * columns, 6, 3, rows, columns)
    error = (target - rows[:, None] * found.product()).square().mean(0)
    assert error[:5].mean() < 0.5 * error[5:].mean()


def problem(rank: int) -> descent.TernaryState:
    weight, moments = random_problem(SHAPE)
    target = weight.flatten(1)
    scale = target.square().mean(1).sqrt()
    found = decompose(target, rank, 1, scale)
    return descent.TernaryState(target, moments[0], found.left, found.d, found.right, scale)


@pytest.mark.parametrize(
    "step",
    [
        descent.sweep_left,
        *(partial(descent.sweep_right, most_classes=count, panel=7) for count in (1, 3, 64)),
        descent.fit_scale,
    ],
    ids=["left", "right in 1 class", "right in 3 classes", "right in 64 classes", "scale"],
)
def test_no_step_raises_the_error(step: Callable[[descent.TernaryState], None]) -> None:
    state = problem(16)
    descent.fit_d(state)
    before = state.loss()
    for _ in range(3):
        step(state)
        assert state.loss() <= before * (1 + 1e-5)
        before = state.loss()
    assert set(state.left.unique().tolist()) <= {-1, 0, 1}
    assert set(state.right.unique().tolist()) <= {-1, 0, 1}


def test_least_squares_for_d_lower_the_error() -> None:
    state = problem(12)
    before = state.loss()
    descent.fit_d(state)
    assert state.loss() < before
    assert (state.d >= 0).all()


def test_classes_hold_every_term_once_and_disjoint_ones_together() -> None:
    left = torch.zeros(6, 5)
    left[0, 0] = left[1, 1] = left[2, 2] = left[2, 3] = 1
    classes = descent.term_classes(left.T @ left)
    assert sorted(int(i) for c in classes for i in c) == [0, 1, 2, 3]
    assert [c.tolist() for c in classes] == [[0, 1, 2], [3]]


def test_rounding_to_int8_costs_under_a_hundredth_of_the_coding_error() -> None:
    weight, moments = random_problem(WeightShape(32, 9, 16))
    target = weight.flatten(1)
    state = encode.fit(target, moments[0], 32)
    left, d, right, scale = encode.round_state(state)
    shape = WeightShape(32, 9, 16)
    coded = form.pack(
        shape,
        left.to(torch.int64).numpy(),
        d[None].to(torch.int64).numpy(),
        right[None].to(torch.int64).numpy(),
        scale.numpy(),
    )
    error = target - torch.from_numpy(decode_weight(coded)).flatten(1)
    lost = float(((error @ moments[0]) * error).sum())
    total = float(((target @ moments[0]) * target).sum())
    assert lost / total < state.loss() * 1.01


@pytest.mark.parametrize(("rank", "message"), [(0, "rank out of range.*got 0"), (-1, "got -1")])
def test_rank_out_of_range(rank: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TernaryOptions(rank)


def test_a_layer_too_small_for_the_rank() -> None:
    weight, moments = random_problem(SHAPE)
    with pytest.raises(OptionError, match=r"too small for this rank.* = 64, got 65"):
        encode.encode(weight, moments, SHAPE, TernaryOptions(65), 0)


def test_rank_by_ratio() -> None:
    assert rank_of(WeightShape(64, 9, 64), 1) == 64
    assert rank_of(WeightShape(64, 9, 64), 1, most=48) == 48
    assert rank_of(WeightShape(1000, 1, 20), 0.5) == 10
    assert rank_of(WeightShape(6, 9, 1, groups=6), 0.1) == 1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 9))
def test_recovered_factors_round_to_the_ternary_ones(seed: int, rank: int) -> None:
    target = normal(8, 12, seed=seed)
    found = decompose(target, rank, 2)
    left, right = recover(target, found.left, found.d, found.right)
    assert torch.equal(ternary(left), found.left)
    assert torch.equal(ternary(right), found.right)
    before = (target - found.product()).square().sum()
    after = (target - (left * found.d) @ right).square().sum()
    assert after <= before * (1 + 1e-5)


def test_recovery_brings_back_much_of_the_weight() -> None:
    target = normal(16, 60)
    found = decompose(target, 16, 5)
    left, right = recover(target, found.left, found.d, found.right)
    before = (target - found.product()).square().sum()
    assert (target - (left * found.d) @ right).square().sum() < 0.3 * before


def test_balanced_factors_are_of_one_size() -> None:
    left, right = 0.01 * normal(8, 4), 30 * normal(4, 20)
    first, second = balance(left, right)
    assert float((first * left).square().mean()) == pytest.approx(1, rel=1e-4)
    assert float((second * right).square().mean()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("shape", [SHAPE, WeightShape(8, 4, 5, groups=2)], ids=str)
@pytest.mark.parametrize("recovered", [False, True])
def test_training_starts_from_what_was_packed(shape: WeightShape, recovered: bool) -> None:
    weight, moments = random_problem(shape)
    coded = encode.encode(weight, moments, shape, TernaryOptions(rank_of(shape, 1)), 0)
    module = TernaryWeight(coded, weight if recovered else None)
    np.testing.assert_allclose(module().detach().numpy(), decode_weight(coded), rtol=1e-5)
    again = module.coded()
    for name in ("left", "d", "right"):
        np.testing.assert_array_equal(again.inputs[name], coded.inputs[name])
    np.testing.assert_allclose(decode_scale(again), decode_scale(coded), rtol=1e-3)


def test_latent_factors_move_the_codes() -> None:
    weight, moments = random_problem(SHAPE)
    coded = encode.encode(weight, moments, SHAPE, TernaryOptions(16), 0)
    module = TernaryWeight(coded, weight)
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    wanted = weight + 0.1 * normal(*weight.shape, seed=1)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (module() - wanted).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    trained = module.coded()
    assert not np.array_equal(trained.inputs["right"], coded.inputs["right"])
    assert min(losses) < 0.9 * losses[0]
    np.testing.assert_allclose(
        decode_weight(trained), module().detach().numpy(), rtol=2e-3, atol=1e-6
    )
