"""Factors of moments that are little but rounding."""

import pytest
import torch

from subbyte.methods.blocks import factor, inverse_factor

MOMENTS = {
    "zero": torch.zeros(2, 2),
    "below zero": torch.tensor([[1.3e-9, 0.0], [0.0, -1.7e-8]]),
    "of rank one": torch.ones(2, 2) * 1e-8,
}


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_moments_of_rounding_have_factors(moments: torch.Tensor) -> None:
    sound = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    found = factor(torch.stack([moments, sound]))
    assert torch.isfinite(found).all()
    assert (found.diagonal(dim1=1, dim2=2) > 0).all()
    torch.testing.assert_close(found[1], torch.linalg.cholesky(sound), rtol=0, atol=0)


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
def test_moments_of_rounding_have_factors_of_their_inverses(moments: torch.Tensor) -> None:
    upper = inverse_factor(moments)
    assert torch.isfinite(upper).all()
    assert (upper.diagonal() > 0).all()


def test_moments_that_are_not_finite_are_refused() -> None:
    with pytest.raises(torch.linalg.LinAlgError):
        factor(torch.full((2, 2), torch.nan))
