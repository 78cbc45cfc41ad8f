from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from subbyte.errors import OptionError
from subbyte.nn import binarize_weight, residual_binarize
from subbyte.nn.binarize import sign
from tests.nn import reference

_VALUES = st.floats(-100, 100, allow_nan=False, width=32)


@settings(deadline=None, derandomize=True)
@given(arrays(np.float64, st.integers(1, 40), elements=_VALUES), st.integers(1, 8))
def test_every_order_takes_n_beta_squared_off_the_error(x: Any, order: int) -> None:
    betas, _ = reference.expand(x, order)
    energy = float((x**2).sum())
    for k in range(1, order + 1):
        r = torch.from_numpy(x) - residual_binarize(torch.from_numpy(x), k)
        energy -= x.size * float(betas[k - 1]) ** 2
        assert float((r**2).sum()) == pytest.approx(energy, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("gaussian", (0.363, 0.130, 0.058, 0.033)),
        ("relu", (0.681, 0.255, 0.162, 0.091)),
        ("uniform", (0.250, 0.062, 0.016, 0.004)),
    ],
)
def test_relative_errors_of_orders_1_to_4(name: str, errors: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(1 << 20) if name == "uniform" else torch.randn(1 << 20)
    x = x.clamp(min=0) if name == "relu" else x
    for order, error in enumerate(errors, 1):
        r = x - residual_binarize(x, order)
        assert float((r**2).sum() / (x**2).sum()) == pytest.approx(error, abs=3e-3)


def test_zeros_of_both_signs_are_positive() -> None:
    x = torch.tensor([0.0, -0.0, 3.0, -1.0])
    assert sign(x).tolist() == [1, 1, 1, -1]
    assert residual_binarize(x, 1).tolist() == [1, 1, 1, -1]
    # The residuals of +-2 at order 1 are zeros.
    assert residual_binarize(torch.tensor([2.0, -2.0]), 3).tolist() == [2, -2]
    assert binarize_weight(-x.view(2, 2)).tolist() == [[0, 0], [-2, 2]]


@pytest.mark.parametrize("backward", ["leaf", "chain"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_gradient_is_the_formula(backward: Any, order: int) -> None:
    x = (2 * torch.randn(6, 9, dtype=torch.float64)).requires_grad_()
    y = residual_binarize(x, order, backward)
    dy = torch.randn_like(y)
    (found,) = torch.autograd.grad(y, x, dy)
    rows = [reference.slope(row, order, backward) for row in x.detach().numpy()]
    torch.testing.assert_close(found, dy * torch.from_numpy(np.array(rows)))


def test_forms_of_the_gradient_differ_from_order_2_on() -> None:
    x = torch.randn(50, requires_grad=True)
    found = [
        torch.autograd.grad(residual_binarize(x, order, backward).sum(), x)[0]  # type: ignore[arg-type]
        for order in (1, 2)
        for backward in ("leaf", "chain")
    ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[2], found[3])


def test_gradient_of_a_weight_is_that_of_order_1() -> None:
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    y = binarize_weight(weight)
    dy = torch.randn_like(y)
    (found,) = torch.autograd.grad(y, weight, dy)
    rows = [reference.slope(row, 1, "leaf") for row in weight.detach().numpy()]
    torch.testing.assert_close(found, dy * torch.from_numpy(np.array(rows)))


@pytest.mark.parametrize("order", [0, 9, -1, True, 1.5])
def test_orders_out_of_range(order: Any) -> None:
    with pytest.raises(OptionError, match="order of a residual binarization: expected 1 to 8"):
        residual_binarize(torch.ones(3), order)


def test_unknown_form_of_the_gradient() -> None:
    with pytest.raises(OptionError, match="backward form: expected leaf or chain, got both"):
        residual_binarize(torch.ones(3), 2, "both")  # type: ignore[arg-type]
