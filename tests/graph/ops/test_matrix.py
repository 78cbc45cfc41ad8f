from __future__ import annotations

import numpy as np
import pytest

from tests.graph.one_node import check

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_four_axes(causal: int, kv_heads: int) -> None:
    inputs = [normal(2, 4, 5, 8), normal(2, kv_heads, 5, 8), normal(2, kv_heads, 5, 8)]
    check("Attention", inputs, 23, is_causal=causal)
    check("Attention", inputs, 23, is_causal=causal, scale=0.2, softcap=1.5)


def test_three_axes() -> None:
    inputs = [normal(2, 5, 32), normal(2, 7, 16), normal(2, 7, 16)]
    check("Attention", inputs, 23, q_num_heads=4, kv_num_heads=2)


def test_mask() -> None:
    inputs = [normal(2, 4, 5, 8), normal(2, 4, 7, 8), normal(2, 4, 7, 8)]
    check("Attention", [*inputs, normal(5, 7)], 23)
    mask = RNG.random((2, 1, 5, 7)) > 0.3
    mask[..., 0] = True
    check("Attention", [*inputs, mask], 23)


def test_past() -> None:
    inputs = [normal(2, 4, 3, 8), normal(2, 4, 3, 8), normal(2, 4, 3, 8)]
    past = [normal(2, 4, 6, 8), normal(2, 4, 6, 8)]
    check("Attention", [*inputs, None, *past], 23, outputs=3)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
def test_rotary_embedding(interleaved: int, width: int) -> None:
    half = (width or 8) // 2
    cos, sin = normal(16, half), normal(16, half)
    positions = RNG.integers(0, 16, (2, 5))
    check(
        "RotaryEmbedding", [normal(2, 4, 5, 8), cos, sin, positions], 23,
        interleaved=interleaved, rotary_embedding_dim=width, num_heads=4,
    )  # fmt: skip
    check("RotaryEmbedding", [normal(2, 5, 32), normal(2, 5, 4), normal(2, 5, 4)], 23, num_heads=4)
