"""Attention, LSTM and tables with quantized weights: lowered, their weights coded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subbyte.graph.load.network import prepare
from subbyte.graph.write.model import write_network
from tests.graph.foreign import MICROSOFT
from tests.graph.one_node import Array, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)
IDS, SEGMENTS = RNG.integers(0, 20, (2, 5)), RNG.integers(0, 2, (2, 5))


def codes(*shape: int, kind: Any = np.uint8) -> Array:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind)


def scales(*shape: int) -> Array:
    return (RNG.random(shape) * 0.02 + 0.005).astype(np.float32)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def zero(value: int = 128) -> Array:
    return np.array(value, np.uint8)


SPAN = [zero(120), zero(30)]
SEEN = np.array([3, 5], np.int32)
# Below 64: larger sums of two products saturate on processors without VNNI.
ATTENTION = [codes(2, 5, 32), codes(32, 96) // 4, normal(96), scales()]
SIGNED = [ATTENTION[0], codes(32, 96, kind=np.int8) // 4, normal(96), scales()]
ONE_WAY = [normal(4, 2, 16), codes(1, 16, 64), codes(1, 16, 64), normal(1, 128)]
TWO_WAYS = [normal(4, 2, 16), *(codes(2, 16, 64, kind=np.int8) for _ in range(2))]
STATES = [np.array([4, 3], np.int32), normal(2, 2, 16), normal(2, 2, 16)]
PLAIN = np.zeros((2, 64), np.int8)
TABLES = [codes(20, 64), codes(8, 64), codes(2, 64), codes(64), codes(64)]
OF_TABLES = [*(scales() for _ in TABLES), *(zero() for _ in TABLES)]

Case = tuple[str, list[Array | None], list[int], int, dict[str, Any], list[str]]
CASES: list[Case] = [
    ("QAttention", [*ATTENTION, scales(), None, *SPAN], [0], 1, {"num_heads": 4}, ["node"]),
    (
        "QAttention",
        [*SIGNED, scales(96), SEEN, zero(120), np.zeros(96, np.int8)],
        [0, 5],
        1,
        {"num_heads": 4, "unidirectional": 1},
        ["node"],
    ),
    (
        "DynamicQuantizeLSTM",
        [*ONE_WAY, None, None, None, None, scales(1), codes(1), scales(1), codes(1)],
        [0],
        3,
        {"hidden_size": 16},
        ["node.W", "node.R"],
    ),
    (
        "DynamicQuantizeLSTM",
        [*TWO_WAYS, None, *STATES, None, scales(2, 64), PLAIN, scales(2, 64), PLAIN],
        [0, 4, 5, 6],
        2,
        {"hidden_size": 16, "direction": "bidirectional"},
        ["node.W", "node.R"],
    ),
    (
        "QEmbedLayerNormalization",
        [IDS.astype(np.int32), SEGMENTS.astype(np.int32), *TABLES, None, *OF_TABLES],
        [0, 1],
        2,
        {"epsilon": 1e-5},
        ["node"],
    ),
    (
        "GatherBlockQuantized",
        [codes(20, 32), IDS, scales(20, 4)],
        [1],
        1,
        {"block_size": 16, "bits": 4},
        ["node"],
    ),
    (
        "GatherBlockQuantized",
        [codes(20, 64), IDS, scales(20, 4), codes(20, 4)],
        [1],
        1,
        {"block_size": 16, "bits": 8, "quantize_axis": -1},
        ["node"],
    ),
    (
        "GatherBlockQuantized",
        [codes(20, 40), IDS, scales(20, 3), codes(20, 2)],
        [1],
        1,
        {"block_size": 32, "bits": 4},
        ["node"],
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "given", "outputs", "more", "coded"), CASES)
def test_blocks_with_quantized_weights(
    kind: str,
    inputs: list[Array | None],
    given: list[int],
    outputs: int,
    more: dict[str, Any],
    coded: list[str],
) -> None:
    """Module and written file equal ONNX Runtime, and the large weights can be coded."""
    constants = {n: x for n, x in enumerate(inputs) if n not in given and x is not None}
    model = one_node(kind, inputs, 18, constants, outputs, MICROSOFT, **more)
    feeds = [x for n, x in enumerate(inputs) if n in given]
    expected = run_ort(model, feeds)
    network = prepare(model, "net")
    assert [entry.name for entry in network.weighted] == coded
    assert [constant.name for constant in network.uncoded] == []
    # Of what is quantized by its own range, ONNX Runtime rounds; floats are not rounded.
    limit = 0.05 if kind == "DynamicQuantizeLSTM" else 1e-5
    compare(run_module(model, feeds), expected, limit)
    compare(run_ort(write_network(network, {}), feeds), expected, limit)
