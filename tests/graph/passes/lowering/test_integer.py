"""Layers that compute on integers: lowered to float layers between quantizers, and coded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subbyte.graph.load.network import prepare
from subbyte.graph.write.model import write_network
from tests.graph.foreign import MICROSOFT
from tests.graph.one_node import Array, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)


def bytes_of(*shape: int, kind: Any = np.uint8) -> Array:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max + 1, shape).astype(kind)


def scales(*shape: int) -> Array:
    return (RNG.random(shape) * 0.02 + 0.005).astype(np.float32)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def point(value: int, kind: Any = np.uint8) -> Array:
    return np.array(value, kind)


IMAGE, ROWS = bytes_of(2, 3, 6, 6), bytes_of(2, 5, 8)
# Below 64: with larger weights sums of two products saturate on processors without VNNI.
KERNEL, MATRIX = bytes_of(4, 3, 3, 3, kind=np.int8) // 2, bytes_of(8, 6, kind=np.int8) // 2
BIAS = RNG.integers(-2000, 2000, 4).astype(np.int32)
FLOATS = normal(2, 5, 8)
READ = [scales(), point(120)]
MADE = [np.array(0.3, np.float32), point(110)]
ZEROS = bytes_of(6, kind=np.int8) // 16

CASES: list[tuple[str, str, list[Array | None], dict[str, Any]]] = [
    (
        "QLinearConv",
        "",
        [IMAGE, *READ, KERNEL, scales(4), np.zeros(4, np.int8), *MADE, BIAS],
        {"strides": [2, 2], "pads": [1] * 4},
    ),
    ("QLinearConv", "", [IMAGE, *READ, KERNEL, scales(), point(0, np.int8), *MADE], {}),
    ("QLinearMatMul", "", [ROWS, *READ, MATRIX, scales(6), ZEROS, *MADE], {}),
    ("QLinearMatMul", "", [ROWS, *READ, MATRIX, scales(1), point(3, np.int8), *MADE], {}),
    ("ConvInteger", "", [IMAGE, bytes_of(4, 3, 3, 3), point(120), point(128)], {"group": 1}),
    ("ConvInteger", "", [IMAGE, bytes_of(6, 1, 3, 3)], {"group": 3}),
    ("MatMulInteger", "", [ROWS, MATRIX, point(120), ZEROS], {}),
    ("MatMulInteger", "", [ROWS, MATRIX], {}),
    (
        "MatMulIntegerToFloat",
        MICROSOFT,
        [ROWS, MATRIX, scales(), scales(6), point(120), None, scales(6)],
        {},
    ),
    ("DynamicQuantizeMatMul", MICROSOFT, [FLOATS, MATRIX, scales(6), None, scales(6)], {}),
    (
        "QGemm",
        MICROSOFT,
        [ROWS[0], *READ, MATRIX, scales(6), np.zeros(6, np.int8), BIAS[[0, 1, 2, 3, 0, 1]]],
        {"alpha": 0.5},
    ),
    (
        "QGemm",
        MICROSOFT,
        [ROWS[0], *READ, MATRIX.T.copy(), scales(), point(0, np.int8), None, *MADE],
        {"transB": 1},
    ),
]
NBITS = {"K": 40, "N": 6, "block_size": 16}
CASES += [
    ("MatMulNBits", MICROSOFT, [normal(2, 40), bytes_of(6, 3, 8), normal(18)], NBITS),
    (
        "MatMulNBits",
        MICROSOFT,
        [normal(2, 40), bytes_of(6, 3, 8), normal(18), bytes_of(12), None, normal(6)],
        {**NBITS, "bits": 4},
    ),
    (
        "MatMulNBits",
        MICROSOFT,
        [normal(2, 40), bytes_of(6, 3, 16), normal(18), bytes_of(18)],
        {**NBITS, "bits": 8},
    ),
]


@pytest.mark.parametrize(("op_type", "domain", "inputs", "more"), CASES)
def test_integer_layers(
    op_type: str, domain: str, inputs: list[Array | None], more: dict[str, Any]
) -> None:
    """Module and written file equal ONNX Runtime, and the weight is a layer's."""
    constants = {place: x for place, x in enumerate(inputs) if place and x is not None}
    model = one_node(op_type, inputs, 18, constants, 1, domain, **more)
    expected = run_ort(model, [inputs[0]])
    network = prepare(model, "net")
    assert [layer.op for layer in network.layers] == ["Conv" if "Conv" in op_type else "Linear"]
    compare(run_module(model, [inputs[0]]), expected, 1e-5)
    compare(run_ort(write_network(network, {}), [inputs[0]]), expected, 1e-5)


def test_an_integer_product_of_two_inputs_stays() -> None:
    inputs = [ROWS, bytes_of(2, 8, 6, kind=np.int8)]
    model = one_node("MatMulInteger", inputs, 18, {}, 1, "")
    network = prepare(model, "net")
    assert [node.op_type for node in network.model.graph] == ["MatMulInteger"]
    compare(run_module(model, inputs), run_ort(model, inputs))
