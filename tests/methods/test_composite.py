"""Composite planes: GF(2), gap codes, the paper's planes against the grid, sizes, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from subbyte.errors import OptionError
from subbyte.methods import WeightShape, decode_weight
from subbyte.methods.coded import decode_scale
from subbyte.methods.composite import encode, form, galois, gaps, planes
from subbyte.methods.composite.accounting import account, entropy_bits, paper_bits
from subbyte.methods.composite.form import CompositeOptions
from tests.methods.cases import random_problem, relative_error

SHAPE = WeightShape(24, 9, 10)

sides = st.integers(1, 80)
binary = st.builds(
    lambda h, w, density, seed: np.random.default_rng(seed).random((h, w)) < density,
    sides,
    sides,
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)


def slow_rank(plane: np.ndarray) -> int:
    """Schoolbook elimination, row by row."""
    basis: dict[int, int] = {}
    for row in plane:
        value = int("".join("1" if bit else "0" for bit in row), 2)
        while value and value.bit_length() in basis:
            value ^= basis[value.bit_length()]
        if value:
            basis[value.bit_length()] = value
    return len(basis)


# GF(2)


@settings(max_examples=60, deadline=None)
@given(binary)
def test_factors_multiply_back_at_the_true_rank(plane: np.ndarray) -> None:
    left, right = galois.factorize(plane)
    np.testing.assert_array_equal(galois.multiply(left, right), plane)
    assert left.shape[1] == right.shape[0] == slow_rank(plane) == galois.rank(plane)


@settings(max_examples=40, deadline=None)
@given(binary, st.integers(0, 20))
def test_rank_stops_above_a_limit(plane: np.ndarray, most: int) -> None:
    assert galois.rank(plane, most) == min(slow_rank(plane), most + 1)


def test_a_product_of_thin_factors_has_their_rank() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random((150, 7)) < 0.5, rng.random((7, 200)) < 0.5
    assert galois.rank(galois.multiply(left, right)) <= 7


# Gap codes


@settings(max_examples=80, deadline=None)
@given(binary)
def test_gap_codes_come_back(plane: np.ndarray) -> None:
    packed, codes = gaps.pack(plane)
    np.testing.assert_array_equal(gaps.unpack(packed, codes, plane.size), plane.reshape(-1))
    assert packed.nbytes == gaps.stored_bytes(plane)


@pytest.mark.parametrize("density", [0.0, 0.003, 0.01, 0.05, 0.2, 0.35, 0.5, 0.9, 1.0])
def test_gap_codes_stay_near_the_entropy_and_never_pass_the_bitmap(density: float) -> None:
    plane = np.random.default_rng(1).random((200, 300)) < density
    bits = 8 * gaps.stored_bytes(plane) / plane.size
    assert bits <= 1
    if 0 < density <= 0.5:
        assert entropy_bits(plane) <= bits < 1.1 * entropy_bits(plane) + 0.03


# The paper's planes

magnitudes = hnp.arrays(np.float64, (12, 15), elements=st.floats(0, 1)).filter(
    lambda r: r.max() > 0
)


@settings(max_examples=120, deadline=None)
@given(magnitudes, st.floats(0.02, 1), st.integers(0, 6))
def test_planes_are_the_bits_of_the_uniform_grid(
    relative: np.ndarray, threshold: float, more: int
) -> None:
    relative = relative / relative.max()
    upper = int(np.floor(np.log2(1 / threshold))) + 1
    found = planes.decompose(relative, threshold, upper + more)
    assert (found.upper, found.lower) == (upper, more)
    wanted = planes.uniform_codes(relative, found.step)
    # At a tie between two levels the last bit of float64 decides.
    to_tie = np.abs(relative / found.step - 0.5 - np.rint(relative / found.step - 0.5))
    clear = to_tie > 1e-9
    np.testing.assert_array_equal(found.codes[clear], wanted[clear])
    assert np.abs(found.codes - wanted).max() <= 1
    assert found.codes.max() < 1 << (upper + more)
    assert np.abs(relative - found.codes * found.step).max() <= found.step / 2 * (1 + 1e-9)


@pytest.mark.parametrize("bottleneck", [0.1, 0.25, 0.5])
def test_the_threshold_meets_its_rank(bottleneck: float) -> None:
    relative = np.abs(np.random.default_rng(2).standard_normal((48, 60)))
    relative /= relative.max()
    found = planes.find_threshold(relative, bottleneck)
    most = int(bottleneck * 48)
    assert galois.rank(relative > found) <= most
    below = np.unique(relative)[np.searchsorted(np.unique(relative), found) - 1]
    assert galois.rank(relative > below) > most


@pytest.mark.parametrize("shape", [SHAPE, WeightShape(8, 9, 12, groups=2), WeightShape(20, 1, 30)])
def test_the_paper_procedure_is_a_uniform_quantizer(shape: WeightShape) -> None:
    weight, moments = random_problem(shape)
    options = CompositeOptions(procedure="paper", bottleneck=0.3)
    coded = encode.encode(weight, moments, shape, options, 0)
    decoded = decode_weight(coded)
    step = decode_scale(coded)
    assert len(set(step.tolist())) == 1
    places = np.abs(weight.numpy()) / step[0]
    clear = np.abs(places % 1 - 0.5) > 1e-5
    assert (~clear).sum() <= 1, "the threshold itself is a tie"
    integers = np.abs(form.decode(coded)).astype(int)
    np.testing.assert_array_equal(integers[clear], np.rint(places)[clear])
    assert (np.sign(decoded) * weight.numpy() >= 0).all()
    assert np.abs(decoded - weight.numpy()).max() <= step[0] / 2 * 1.0001
    assert form.decode(coded).max() <= 63


def test_upper_planes_become_factors_and_decode_as_gap_codes_do() -> None:
    shape = WeightShape(96, 9, 96)
    weight, moments = random_problem(WeightShape(96, 1, 4))
    weight = torch.from_numpy(np.random.default_rng(0).laplace(size=(96, 9, 96))).float()
    options = CompositeOptions(procedure="paper")
    coded = encode.encode(weight, moments, shape, options, 0)
    assert coded.variant == "Factored"
    assert set(form.factors_of(coded)) <= {5, 4, 3, 2}
    plain = form.pack(shape, form.decode(coded).astype(int), decode_scale(coded), {})
    np.testing.assert_array_equal(form.decode(plain), form.decode(coded))
    assert plain.nbytes < coded.nbytes, "gap codes take less than the paper's factors"


def test_kernels_are_cut_at_their_side() -> None:
    rows = {1: 1, 9: 3, 25: 5, 49: 7, 3: 1, 15: 3, 7: 1}
    for taps, height in rows.items():
        assert form.matrix_rows(WeightShape(10, taps, 4)) == 10 * height


# What is stored


def test_low_rank_planes_are_stored_as_factors() -> None:
    rng = np.random.default_rng(3)
    shape = WeightShape(64, 1, 64)
    low = galois.multiply(rng.random((64, 4)) < 0.5, rng.random((4, 64)) < 0.5)
    levels = (low + 2 * (rng.random((64, 64)) < 0.5)).reshape(64, 1, 64).astype(int)
    factors = form.choose_factors(form.planes_of(levels, 64))
    assert set(factors) == {0}
    coded = form.pack(shape, levels, np.ones(64, np.float32), factors)
    np.testing.assert_array_equal(form.decode(coded), levels)
    assert coded.nbytes == form.stored_bytes(levels, shape, factors)
    assert coded.nbytes < form.stored_bytes(levels, shape, {}) - 400


@pytest.mark.parametrize("bits", [1.0, 2.0, 3.3, 4.5, 6.0])
def test_a_size_is_kept_and_used(bits: float) -> None:
    shape = WeightShape(48, 9, 24)
    weight, moments = random_problem(shape)
    coded = encode.encode(weight, moments, shape, CompositeOptions(bits=bits), 0)
    assert 0.9 * bits < coded.bits_per_weight <= bits or form.decode(coded).max() == 63
    assert coded.bits_per_weight <= bits


def test_more_bits_less_error_and_less_than_plain_rounding() -> None:
    shape = WeightShape(48, 9, 24)
    weight, moments = random_problem(shape)
    errors = []
    for bits in (1.5, 2.5, 3.5, 4.5):
        coded = encode.encode(weight, moments, shape, CompositeOptions(bits=bits), 0)
        errors.append(relative_error(weight, decode_weight(coded), moments))
    assert errors == sorted(errors, reverse=True)
    paper = CompositeOptions(procedure="paper", planes=4)
    coded = encode.encode(weight, moments, shape, paper, 0)
    ours = encode.encode(weight, moments, shape, CompositeOptions(bits=coded.bits_per_weight), 0)
    rounded = relative_error(weight, decode_weight(coded), moments)
    assert relative_error(weight, decode_weight(ours), moments) < 0.6 * rounded


def test_accounting() -> None:
    sparse = np.zeros((30, 40), bool)
    sparse[[1, 5], [2, 7]] = True
    assert paper_bits(sparse) == 2 * 70 / 1200
    dense = np.random.default_rng(0).random((30, 40)) < 0.5
    assert paper_bits(dense) == 1
    assert entropy_bits(dense) == pytest.approx(1, abs=1e-2)
    assert entropy_bits(np.ones((3, 3), bool)) == 0
    weight, moments = random_problem(SHAPE)
    coded = encode.encode(weight, moments, SHAPE, CompositeOptions(planes=3), 0)
    found = account(coded)
    assert found.planes == 3
    assert found.entropy_bits < coded.bits_per_weight
    assert 3 < found.paper_bits <= 4


# Errors


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("planes", 0, "one level"),
        ("planes", 7, "1 to 6, got 7"),
        ("bits", 0.0, "bits out of range"),
        ("bits", 8.5, "bits out of range"),
        ("bottleneck", 0, "allows no rank"),
        ("bottleneck", 1.5, "bottleneck out of range"),
        ("procedure", "guess", "corrected or paper"),
    ],
)
def test_options_out_of_range_are_named(field: str, value: object, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        CompositeOptions(**{field: value})  # type: ignore[arg-type]


def test_layers_too_small_are_named() -> None:
    shape = WeightShape(3, 1, 4)
    weight, moments = random_problem(shape)
    with pytest.raises(OptionError, match=r"too small for this bottleneck \(rank 0\)"):
        encode.encode(weight, moments, shape, CompositeOptions(procedure="paper"), 0)
    with pytest.raises(OptionError, match=r"too small for so few bits.*got 3"):
        encode.encode(weight, moments, shape, CompositeOptions(bits=3), 0)


def test_fewer_planes_than_the_threshold_needs_are_named() -> None:
    relative = np.abs(np.random.default_rng(2).standard_normal((48, 60)))
    with pytest.raises(OptionError, match=r"planes out of range.*at least 4, got 3"):
        planes.decompose(relative / relative.max(), 0.1, 3)
