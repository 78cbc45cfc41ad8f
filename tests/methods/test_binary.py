"""Residual binarization and the binary encoders against the paper's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import OptionError
from subbyte.methods import METHODS, WeightShape, decode_weight
from subbyte.methods.binarization import (
    BINARIZATIONS,
    MOST_ORDER,
    SCALES,
    Binarization,
    binarize_fields,
    scales_of,
)
from subbyte.methods.binary import encode, form
from subbyte.methods.binary.form import BinaryOptions
from tests.methods.cases import random_problem


def values(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal(shape))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from(["normal", "relu", "even"]))
def test_every_order_takes_its_share_of_the_error(seed: int, count: int, kind: str) -> None:
    """||r_k||^2 = ||r_{k-1}||^2 - n beta_k^2: the guarantee in the paper's name."""
    x = values(seed, count)
    x = {"normal": x, "relu": x.relu(), "even": (x * 4).round() / 4}[kind]
    betas = [float(beta) for beta in scales_of(x, MOST_ORDER, (0,))]
    left = float(x.square().sum())
    for order, beta in enumerate(betas, 1):
        fields = binarize_fields(x.reshape(1, count), Binarization(order))
        error = float((x - fields[0]).square().sum())
        assert math.isclose(error, left - count * beta**2, abs_tol=1e-9 * (1 + left))
        left = error


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("normal", (0.363, 0.130, 0.058, 0.033)),
        ("relu", (0.681, 0.255, 0.162, 0.091)),
        ("uniform", (0.250, 0.062, 0.016, 0.004)),
    ],
)
def test_relative_errors_of_known_distributions(kind: str, expected: tuple[float, ...]) -> None:
    """Of ||x||^2; of a uniform one the exact values are 4^-k."""
    x = values(0, 1, 200_000)
    uniform = (torch.arange(200_000, dtype=x.dtype)[None] + 0.5) / 200_000
    x = {"normal": x, "relu": x.relu(), "uniform": uniform}[kind]
    for order, wanted in enumerate(expected, 1):
        error = (x - binarize_fields(x, Binarization(order))).square().sum() / x.square().sum()
        assert float(error) == pytest.approx(wanted, abs=0.003)


def by_loops(field: np.ndarray, binarization: Binarization, betas: list[float]) -> np.ndarray:
    """One receptive field [T, I] by the definition."""
    rest, total = field.copy(), np.zeros_like(field)
    for k in range(binarization.order):
        signs = np.where(rest < 0, -1.0, 1.0)
        if binarization.scales == "pixel":
            beta = np.abs(rest).mean(1, keepdims=True)
            total += beta.mean() * signs
        else:
            beta = np.abs(rest).mean() if binarization.scales == "column" else betas[k]
            total += beta * signs
        rest = rest - beta * signs
    return total


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("order", [1, 2, 5])
def test_fields_by_the_definition(scales: form.Scales, order: int) -> None:
    fields = values(1, 3, 4, 9, 6)
    fields[0, 0, :3] = 0  # padding
    given = [values(2, 3, 1, 1, 1).abs() / 2**k for k in range(order)]
    binarization = Binarization(order, scales)
    found = binarize_fields(fields, binarization, given if scales == "image" else None)
    for image, position in np.ndindex(3, 4):
        betas = [float(beta[image, 0, 0, 0]) for beta in given]
        wanted = by_loops(fields[image, position].numpy(), binarization, betas)
        np.testing.assert_allclose(found[image, position].numpy(), wanted, atol=1e-12)


def test_pixels_and_columns_are_the_same_at_order_one() -> None:
    fields = values(3, 5, 9, 4)
    column, pixel = (binarize_fields(fields, Binarization(1, kind)) for kind in SCALES[:2])
    torch.testing.assert_close(column, pixel)


def test_the_papers_weights() -> None:
    shape = WeightShape(6, 9, 5)
    weight, moments = random_problem(shape)
    weight[2, 3, 1] = 0
    coded = encode.encode(weight, moments, shape, BinaryOptions(2, "column", "paper"), 0)
    signs = np.where(weight.numpy() < 0, -1, 1)
    np.testing.assert_array_equal(METHODS["binary"].decode(coded), signs)
    alpha = weight.numpy().reshape(6, -1).__abs__().mean(1)
    np.testing.assert_allclose(METHODS["binary"].scale(coded), alpha, rtol=1e-3)


def test_the_papers_encoding_leaves_binary_weights_as_they_are() -> None:
    shape = WeightShape(6, 9, 5)
    weight, moments = random_problem(shape)
    options = BinaryOptions(2, "column", "paper")
    once = encode.encode(weight, moments, shape, options, 0)
    again = encode.encode(torch.from_numpy(decode_weight(once)), moments, shape, options, 0)
    np.testing.assert_array_equal(once.inputs["signs"], again.inputs["signs"])
    np.testing.assert_array_equal(once.inputs["scale"], again.inputs["scale"])


def test_a_bit_a_weight() -> None:
    shape = WeightShape(64, 9, 64)
    weight, moments = random_problem(shape)
    coded = encode.encode(weight, moments, shape, BinaryOptions(8), 0)
    assert coded.bits_per_weight == pytest.approx(1 + (16 * 64 + 32) / shape.count)
    assert coded.inputs["signs"].shape == (shape.count // 8, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"order": 0}, "order out of range: expected 1 to 8, got 0"),
        ({"order": 9}, "order out of range: expected 1 to 8, got 9"),
        ({"scales": "row"}, "unknown scales: expected column or pixel or image, got row"),
        ({"procedure": "fast"}, "unknown procedure: expected corrected or paper, got fast"),
    ],
)
def test_options(options: dict[str, object], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        BinaryOptions(**options)  # type: ignore[arg-type]


def test_variants_say_what_they_are() -> None:
    assert len(BINARIZATIONS) == len(SCALES) * MOST_ORDER
    assert BINARIZATIONS["Pixel3"] == Binarization(3, "pixel")
    with pytest.raises(ValueError, match="no variant"):
        form.weight_nodes("Row2")
