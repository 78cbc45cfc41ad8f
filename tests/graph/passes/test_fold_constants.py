"""Constants of other shapes than the textbook's: what ONNX Runtime takes is taken.

Every input of one entry is tried as a scalar, [1] and [1, 1], as a constant and as an input of the
network; what ONNX Runtime refuses has no right result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from subbyte.graph.load.network import prepare
from subbyte.graph.ops import OPERATORS
from subbyte.graph.write.model import write_network
from subbyte.runtime.ort import ERRORS as ORT_ERRORS
from tests.graph.one_node import Array, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (1, 1))


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def number(value: float, dtype: Any = np.int64) -> Array:
    return np.array([value], dtype)


def scalar(value: float, dtype: Any = np.int64) -> Array:
    return np.array(value, dtype)


X = floats(2, 3, 4, 5)
ONE = floats(2, 1, 4, 1)
FLOAT = np.float32
CHANNELS = np.abs(floats(3))

Case = tuple[str, Sequence[Array | None], Sequence[int], dict[str, Any]]
CASES: list[Case] = [
    ("Clip", [X, scalar(-0.5, FLOAT), scalar(0.5, FLOAT)], (1, 2), {}),
    ("Clip", [X, None, scalar(0.5, FLOAT)], (2,), {}),
    ("Gather", [X, number(2)], (1,), {"axis": 1}),
    ("Gather", [X, number(-1)], (1,), {"axis": -1}),
    ("Slice", [X, number(1), number(3), number(2), number(1)], (1, 2, 3, 4), {}),
    ("Slice", [X, number(1), number(2)], (1, 2), {}),
    ("Squeeze", [ONE, number(1)], (1,), {}),
    ("Unsqueeze", [X, number(1)], (1,), {}),
    ("Reshape", [X, number(-1)], (1,), {}),
    ("Expand", [X, number(5)], (1,), {}),
    ("Expand", [floats(1), number(5)], (1,), {}),
    ("Tile", [floats(4), number(2)], (1,), {}),
    ("Split", [X[:, :1], number(1)], (1,), {"axis": 1}),
    ("Pad", [floats(4), np.array([1, 2]), scalar(1.5, FLOAT)], (2,), {}),
    ("Pad", [X, np.array([1, 2]), scalar(1.5, FLOAT), number(2)], (2, 3), {}),
    ("ConstantOfShape", [number(3)], (0,), {}),
    ("Range", [scalar(1), scalar(9), scalar(2)], (0, 1, 2), {}),
    ("Range", [scalar(1, FLOAT), scalar(3, FLOAT), scalar(0.5, FLOAT)], (0, 1, 2), {}),
    ("Trilu", [X, scalar(1)], (1,), {}),
    ("OneHot", [np.array([0, 2, 1]), scalar(3), np.array([0, 1], FLOAT)], (1,), {}),
    ("OneHot", [np.array([0, 2, 1]), scalar(3, FLOAT), np.array([0, 1], FLOAT)], (1,), {}),
    ("TopK", [X, number(2)], (1,), {"outputs": 2}),
    ("CumSum", [X, scalar(1)], (1,), {}),
    ("CumSum", [X, scalar(-1, np.int32)], (1,), {"exclusive": 1}),
    *(
        (name, [np.abs(X), scalar(1)], (1,), {"keepdims": 0})
        for name in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax")
    ),
    *(
        (name, [X, number(1)], (1,), {})
        for name in ("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
    ),
    ("Resize", [floats(4), None, number(2, FLOAT)], (2,), {}),
    ("Resize", [X, None, number(2, FLOAT)], (2,), {"axes": [2]}),
    ("Resize", [X, None, None, number(8)], (3,), {"axes": [2]}),
    ("QuantizeLinear", [X, scalar(0.05, FLOAT), scalar(3, np.uint8)], (1, 2), {}),
    ("QuantizeLinear", [X, scalar(0.05, FLOAT)], (1,), {}),
    ("DequantizeLinear", [np.arange(6, dtype=np.int8), scalar(0.05, FLOAT)], (1,), {}),
    (
        "DequantizeLinear",
        [np.arange(6, dtype=np.uint8), scalar(0.05, FLOAT), scalar(3, np.uint8)],
        (1, 2),
        {},
    ),
    ("PRelu", [X, number(0.25, FLOAT)], (1,), {}),
    ("Pow", [np.abs(X), number(2, FLOAT)], (1,), {}),
    ("Mod", [np.arange(6), number(4)], (1,), {}),
    ("Where", [number(1, np.bool_), X, number(2, FLOAT)], (0, 2), {}),
    ("Max", [X, number(0.1, FLOAT)], (1,), {}),
    ("Add", [X, number(0.1, FLOAT)], (1,), {}),
    ("Dropout", [X, scalar(0.5, FLOAT), scalar(0, np.bool_)], (1, 2), {}),
    ("LayerNormalization", [X, number(2, FLOAT), number(1, FLOAT)], (1, 2), {}),
    ("RMSNormalization", [X, number(2, FLOAT)], (1,), {"opset": 23}),
    (
        "GroupNormalization",
        [X[:, :1], number(2, FLOAT), number(1, FLOAT)],
        (1, 2),
        {"num_groups": 1, "opset": 21},
    ),
    ("InstanceNormalization", [X[:, :1], number(2, FLOAT), number(1, FLOAT)], (1, 2), {}),
    ("BatchNormalization", [X[:, :1], *[number(2, FLOAT)] * 4], (1, 2, 3, 4), {}),
    ("Conv", [X, floats(1, 3, 1, 1), number(2, FLOAT)], (2,), {}),
    ("ConvTranspose", [X, floats(3, 1, 1, 1), number(2, FLOAT)], (2,), {}),
    ("Gemm", [X[0, 0], floats(5, 3), number(2, FLOAT)], (2,), {}),
    ("Gemm", [X[0, 0], floats(5, 3), number(2, FLOAT)], (2,), {"beta": 0.5}),
    ("Compress", [X, number(1, np.bool_)], (1,), {"axis": 0}),
    ("GatherElements", [floats(4), number(2)], (1,), {}),
    ("GatherND", [floats(4), number(2)], (1,), {}),
    ("ScatterElements", [floats(4), number(2), number(9, FLOAT)], (1, 2), {}),
    ("ScatterND", [floats(4), number(2), number(9, FLOAT)], (1, 2), {}),
    ("ReverseSequence", [floats(3, 1, 2), number(2)], (1,), {}),
    ("Einsum", [floats(3), number(2, FLOAT)], (1,), {"equation": "i,j->i"}),
    ("MatMul", [floats(2, 1), number(2, FLOAT)], (1,), {}),
    ("BitShift", [np.arange(4, dtype=np.uint8), scalar(1, np.uint8)], (1,), {"direction": "LEFT"}),
]


def variants(case: Case) -> Iterator[tuple[onnx.ModelProto, list[Array]]]:
    """One-node models with one input of each shape, as a constant and not, and their inputs."""
    op_type, given, places, attributes = case
    opset = attributes.get("opset", 18)
    others = {key: value for key, value in attributes.items() if key != "opset"}
    for place, shape, constant in itertools.product(places, SHAPES, (True, False)):
        inputs = list(given)
        tried = inputs[place]
        inputs[place] = None if tried is None else tried.reshape(shape)
        constants = {at: value for at in places if constant and (value := inputs[at]) is not None}
        model = one_node(op_type, inputs, opset, constants, **others)
        fed = [value for at, value in enumerate(inputs) if value is not None]
        yield model, [value for value in fed if all(value is not c for c in constants.values())]


@pytest.mark.parametrize("case", [pytest.param(case, id=case[0]) for case in CASES])
def test_entries_of_any_shape(case: Case) -> None:
    taken = 0
    for model, fed in variants(case):
        try:
            wanted = run_ort(model, fed)
        except ORT_ERRORS:
            continue
        taken += 1
        compare(run_module(model, fed), wanted)
        compare(run_ort(write_network(prepare(model, "net"), {}), fed), wanted)
    assert taken


def test_every_operator_that_reads_numbers_has_a_case() -> None:
    tried = {case[0] for case in CASES}
    reading = {name for (domain, name), row in OPERATORS.items() if row.lengths and not domain}
    assert reading <= tried | {"CumProd"}
