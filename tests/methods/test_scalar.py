"""Weights that lie on a grid already: found, and coded as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.errors import OptionError
from subbyte.methods import WeightShape, decode_weight
from subbyte.methods.scalar import form
from subbyte.methods.scalar.encode import encode, encode_unpacked
from subbyte.methods.scalar.exact import find_grid, least_bits
from subbyte.methods.scalar.form import ScalarOptions

SHAPE = WeightShape(6, 4, 5)
LEVELS = {
    "ternary": [-1, 0, 1],
    "even": [-3, -1, 1, 3],
    "zero": [-2, -1, 0, 1],
    "even-3": list(range(-7, 8, 2)),
    "zero-4": list(range(-8, 8)),
}


def on_grid(levels: list[int], seed: int = 0) -> torch.Tensor:
    """A weight [O, T, I] of ``levels``, with a scale an output, as float32 arithmetic leaves it."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(levels, (SHAPE.outputs, SHAPE.taps, SHAPE.inputs)).astype(np.float32)
    scale = rng.uniform(0.01, 0.2, (SHAPE.outputs, 1, 1)).astype(np.float32)
    return torch.from_numpy(chosen * scale * np.float32(1.7) / np.float32(0.3))


def coded(weight: torch.Tensor, bits: int) -> Any:
    plain = torch.eye(SHAPE.taps * SHAPE.inputs)[None]
    return encode(weight, plain, SHAPE, ScalarOptions(bits, exact=True), seed=0)


@pytest.mark.parametrize("name", LEVELS)
def test_a_grid_is_kept_to_the_rounding_of_its_scales(name: str) -> None:
    weight = on_grid(LEVELS[name])
    bits = {"even-3": 3, "zero-4": 4}.get(name, 2)
    assert least_bits(weight) == bits
    found = coded(weight, bits)
    assert found.nbytes == form.stored_bytes(SHAPE, ScalarOptions(bits))
    np.testing.assert_allclose(decode_weight(found), weight, rtol=2**-10, atol=0)


def test_one_scale_for_the_layer_loses_nothing() -> None:
    """Its float16 part is 1, its float32 base the scale."""
    levels = np.random.default_rng(0).integers(-1, 2, (6, 4, 5)).astype(np.float32)
    weight = torch.from_numpy(levels * np.float32(0.0371))
    np.testing.assert_array_equal(decode_weight(coded(weight, 2)), weight)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 99), name=st.sampled_from(sorted(LEVELS)), more=st.booleans())
def test_levels_times_scale_is_the_weight(seed: int, name: str, more: bool) -> None:
    weight = on_grid(LEVELS[name], seed)
    if more and name != "even":
        weight[2] = 0
    bits = least_bits(weight)
    assert bits is not None
    found = find_grid(weight, bits)
    assert found is not None
    again = (found.levels * found.scale[:, None]).reshape(weight.shape)
    torch.testing.assert_close(again.float(), weight, rtol=1e-5, atol=1e-7)
    step, low = form.grid_map(bits, found.grid)
    codes = (found.levels - low) / step
    assert bool(((codes == codes.round()) & (codes >= 0) & (codes < 1 << bits)).all())


def test_a_turned_sign_stays_on_a_symmetric_grid() -> None:
    """A normalization with a negative factor does that to an output."""
    for name in ("ternary", "even"):
        weight = on_grid(LEVELS[name])
        weight[1] = -weight[1]
        assert least_bits(weight) == 2


def test_other_weights_lie_on_no_grid() -> None:
    weight = on_grid(LEVELS["ternary"])
    weight[3, 2, 1] = weight[3].abs().max() * 0.43
    assert least_bits(weight) is None
    with pytest.raises(OptionError, match="on no grid of 2 bits"):
        coded(weight, 2)
    assert least_bits(torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0))) is None
    # No zero among (-3, -1, 1, 3): a dead output needs the other grid.
    weight = on_grid(LEVELS["even"])
    weight[0] = 0
    assert find_grid(weight, 2) is None


def test_fewer_bits_than_the_grid_needs() -> None:
    with pytest.raises(OptionError, match="on no grid of 2 bits"):
        coded(on_grid(LEVELS["zero-4"]), 2)


def test_eight_bits_are_never_exact() -> None:
    with pytest.raises(OptionError, match="exact is for 2, 3 or 4 bits"):
        ScalarOptions(8, exact=True)


def pairs(coded: Any) -> int:
    """The largest sum of two neighbours of one sign, as integers."""
    flat = form.decode(coded).astype(int).reshape(coded.shape.outputs, -1)
    left, right = flat[:, :-1], flat[:, 1:]
    return int(np.abs(np.where(left * right > 0, left + right, 0)).max())


def test_eight_bits_that_no_kernel_multiplies_are_finer() -> None:
    """No sum of two products can saturate there, so that the step is that of the largest weight."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.standard_normal((6, 4, 5)).astype(np.float32))
    weight[:, 0, :2] = 4.0
    plain = torch.eye(20)[None]
    found = {
        integers: code(weight, plain, SHAPE, ScalarOptions(8), 0)
        for integers, code in ((True, encode), (False, encode_unpacked))
    }
    assert pairs(found[True]) <= 128 < pairs(found[False])
    lost = {k: float(np.square(decode_weight(c) - weight.numpy()).sum()) for k, c in found.items()}
    assert lost[False] < 0.4 * lost[True]
    assert int(form.decode(found[False]).min()) >= -127
