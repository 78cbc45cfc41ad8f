"""Operator sets 7 to 17, lifted: the prepared graph computes what the original file did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph.load.convert import lift
from subbyte.graph.load.network import prepare
from tests.graph.one_node import Array, check, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*entries: int) -> Array:
    return np.array(entries, np.int64)


X = floats(2, 3, 6, 6)
POSITIVE = np.abs(X) + np.float32(0.1)
ROWS = X[:, :, 0, 0]
CHANNEL = np.abs(floats(3))
EMPTY = np.zeros(0, np.float32)
Case = tuple[str, int, Sequence[Array], tuple[int, ...], dict[str, Any]]


def cases(
    op_types: str,
    opsets: Sequence[int],
    inputs: Sequence[Array],
    constants: Sequence[int] = (),
    **attributes: Any,
) -> Iterator[Any]:
    """One case per operator (names with spaces between) and operator set."""
    for op_type in op_types.split():
        for opset in opsets:
            shown = ",".join(f"{key}={value}" for key, value in attributes.items())
            yield pytest.param(
                op_type,
                opset,
                inputs,
                tuple(constants),
                attributes,
                id=f"{op_type}-{opset}-{len(inputs)}{tuple(constants)}-{shown}"[:80],
            )


UP, PART, DOWN, MIXED = (
    np.array([1, 1, *entries], np.float32)
    for entries in ((2, 2), (1.5, 2.5), (0.5, 0.6), (0.5, 2.0))
)
REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
)
BATCH_NORM = [CHANNEL, floats(3), floats(3), CHANNEL]
KERNEL, TURNED, BIAS = floats(4, 3, 3, 3), floats(3, 4, 3, 3), floats(4)
MATRIX = floats(6, 5)
PADS = [0, 0, 1, 2, 0, 0, 2, 1]
STEP = np.array(0.05, np.float32)
REGION = np.array([[0, 0, 4, 4]], np.float32)
DEPTH, OFF_ON = np.array(4, np.int64), np.array([0, 1], np.float32)

CASES = [
    # Attributes that became inputs
    *cases("Clip", [7, 9, 10], [X], min=-0.5, max=0.5),
    *cases("Clip", [7], [X], max=0.5),
    *cases("Clip", [7, 11], [X]),
    *cases("Slice", [7, 9], [X], starts=[0, 1], ends=[2, -1], axes=[0, 2]),
    *cases("Slice", [7], [X], starts=[-1, 1], ends=[99, 3]),
    *cases("Slice", [10], [X, ints(0, 1), ints(2, -1), ints(0, 2), ints(1, 2)], [1, 2, 3, 4]),
    *cases("Slice", [10], [X, ints(1), ints(5), ints(2)]),
    *cases("Pad", [7, 10], [X], mode="constant", pads=PADS, value=1.5),
    *cases("Pad", [7], [X], mode="reflect", pads=PADS),
    *cases("Pad", [9], [X], mode="edge", pads=PADS),
    *cases("Pad", [9], [X], pads=[0, 0, -1, 0, 0, 0, 0, -1]),
    *cases("Squeeze", [7, 11], [floats(2, 1, 3, 1)], axes=[1]),
    *cases("Squeeze", [7], [floats(2, 1, 3, 1)]),
    *cases("Squeeze", [11], [floats(2, 1, 3, 1)], axes=[-1, 1]),
    *cases("Unsqueeze", [7, 11], [X], axes=[0, 3]),
    *cases("Split", [7, 11], [X], outputs=3, axis=1),
    *cases("Split", [7, 11], [X], outputs=2, axis=1, split=[1, 2]),
    *cases("Split", [13], [X], outputs=2, axis=3),
    *cases("Split", [13], [X, ints(1, 2)], [1], outputs=2, axis=1),
    *cases("TopK", [7, 9], [X], outputs=2, k=3, axis=1),
    *cases("TopK", [10], [X, ints(3)], [1], outputs=2, axis=1),
    *cases("TopK", [10], [X, ints(3)], outputs=2),
    *cases(REDUCTIONS, [7, 13], [POSITIVE], keepdims=0),
    *cases(REDUCTIONS, [11], [POSITIVE]),
    *cases(REDUCTIONS.replace("ReduceSum ", ""), [7, 17], [POSITIVE], axes=[1, 2]),
    *cases("ReduceSum", [7, 11], [POSITIVE], axes=[1, 2], keepdims=0),
    *cases("ReduceSum", [13], [POSITIVE, ints(1)], [1]),
    *cases("Dropout", [7, 10], [X], ratio=0.3),
    *cases("Dropout", [12], [X]),
    # Meanings that changed
    *cases("Softmax LogSoftmax Hardmax", [7, 11, 12], [X]),
    *cases("Softmax LogSoftmax Hardmax", [7, 11], [X], axis=2),
    *cases("Softmax LogSoftmax Hardmax", [7], [X], axis=0),
    *cases("Softmax LogSoftmax Hardmax", [9], [ROWS]),
    *cases("Softmax LogSoftmax Hardmax", [11], [X], axis=-2),
    *cases("Softmax LogSoftmax Hardmax", [13], [X], axis=1),
    *cases("Upsample", [7], [X], scales=[1.0, 1.0, 2.0, 2.0]),
    *cases("Upsample", [8], [X], scales=[1.0, 1.0, 1.5, 2.5], mode="nearest"),
    *cases("Upsample", [7], [X], scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    *cases("Upsample", [9], [X, UP], [1], mode="linear"),
    *cases("Upsample", [9], [X, PART]),
    *cases("Upsample", [9], [floats(2, 3, 6), UP[:3]], [1], mode="linear"),
    *(
        case
        for scales in (UP, PART, DOWN, MIXED)
        for constants in ((1,), ())
        for mode in ("nearest", "linear")
        for case in cases("Resize", [10], [X, scales], constants, mode=mode)
    ),
    *cases("Resize", [11, 13], [X, EMPTY, UP], [1, 2], mode="linear"),
    *cases("Resize", [11], [X, EMPTY, EMPTY, ints(2, 3, 9, 9)], [1, 2, 3], mode="linear"),
    *cases("RoiAlign", [10, 15, 16], [X, REGION, ints(0)], output_width=2),
    *cases("BatchNormalization", [7, 9, 14], [X, *BATCH_NORM], [1, 2, 3, 4], epsilon=1e-3),
    *cases("BatchNormalization", [7], [X, *BATCH_NORM], [1, 2, 3, 4], spatial=1),
    *cases("Gemm", [7, 9], [floats(4, 6), MATRIX, floats(5)], [1, 2]),
    *cases("Gemm", [7], [floats(4, 6), MATRIX, floats(4, 1)], [1, 2]),
    *cases("Gemm", [7], [floats(4, 6), MATRIX, floats(1)], [1, 2]),
    *cases("Gemm", [7], [floats(6, 4), MATRIX.T, floats(5)], [], transA=1, transB=1, beta=2.0),
    *cases("Gemm", [11], [floats(4, 6), MATRIX], [1]),
    *cases("DepthToSpace", [7], [floats(2, 8, 3, 3)], blocksize=2),
    *cases("DepthToSpace", [11], [floats(2, 8, 3, 3)], blocksize=2, mode="CRD"),
    *cases("Scatter", [9], [X, np.zeros((1, 3, 6, 6), np.int64), X[:1]], axis=1),
    *cases("ScatterElements", [11], [X, np.zeros((1, 3, 6, 6), np.int64), X[:1]], axis=1),
    *cases("QuantizeLinear", [10], [X, STEP, np.array(3, np.uint8)], [1, 2]),
    *cases("DequantizeLinear", [10], [np.arange(6, dtype=np.int8), STEP], [1]),
    # Windows
    *cases("Conv", [7], [X, KERNEL, BIAS], [1, 2], pads=[1] * 4, strides=[2, 1]),
    *cases("Conv", [7], [X, KERNEL], [1], auto_pad="SAME_UPPER"),
    *cases("ConvTranspose", [7], [X, TURNED, BIAS], [1, 2], strides=[2, 2], output_padding=[1, 1]),
    *cases("ConvTranspose", [7], [X, TURNED], [1], output_shape=[12, 12], strides=[2, 2]),
    *cases("MaxPool AveragePool", [7, 10, 11], [X], kernel_shape=[3, 3], pads=[1] * 4),
    *cases("MaxPool AveragePool", [7], [X], kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
    *cases("MaxPool AveragePool", [10], [X], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
    *cases("AveragePool", [7], [X], kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    # Everything else that a network of that time had
    *cases("Add Sub Mul Div Pow PRelu", [7], [POSITIVE, np.abs(floats(3, 1, 1))], [1]),
    *cases("Max Min Sum Mean", [8], [X, X[:1]]),
    *cases("Less Greater", [7, 9], [X, X[:1]]),
    *cases("ArgMax ArgMin", [7, 11, 12], [X], axis=1),
    *cases("Cast", [7, 9], [X], to=TensorProto.INT32),
    *cases("Concat", [7], [X, X], axis=1),
    *cases("Flatten", [7, 9], [X], axis=2),
    *cases("Reshape", [7], [X, ints(0, -1)], [1]),
    *cases("Gather", [7], [X, ints(0, 2)], [1], axis=1),
    *cases("Expand", [8], [X[:1], ints(2, 1, 1, 1)], [1]),
    *cases("EyeLike", [9], [floats(4, 5)], k=1),
    *cases(
        "OneHot", [9], [ints(0, 2, 1), np.array(4, np.int64), np.array([0, 1], np.float32)], [1]
    ),
    *cases("MeanVarianceNormalization", [9], [X]),
    *cases("LRN", [7], [X], size=3),
    *cases("InstanceNormalization", [7], [X, CHANNEL, floats(3)], [1, 2]),
    *cases("LSTM", [7], [floats(5, 2, 3), floats(1, 16, 3), floats(1, 16, 4)], hidden_size=4),
    *cases("GRU", [7], [floats(5, 2, 3), floats(1, 12, 3), floats(1, 12, 4)], hidden_size=4),
]


@pytest.mark.parametrize(("op_type", "opset", "inputs", "places", "attributes"), CASES)
def test_lifted_operators(
    op_type: str,
    opset: int,
    inputs: Sequence[Array],
    places: Sequence[int],
    attributes: Mapping[str, Any],
) -> None:
    constants = {place: inputs[place] for place in places}
    check(op_type, inputs, opset, constants, tolerance=2e-5, **attributes)


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    made = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [made])


def test_inner_graphs_are_lifted_too() -> None:
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [4], UP)
    then = branch(
        "then",
        helper.make_node("Constant", [], ["s"], value=scales),
        helper.make_node("Resize", ["x", "s"], ["t"], mode="linear"),
    )
    other = branch(
        "else",
        helper.make_node("Hardmax", ["x"], ["h"]),
        helper.make_node("Clip", ["h"], ["k"], min=0.0),
        helper.make_node("Constant", [], ["r"], value=scales),
        helper.make_node("Resize", ["k", "r"], ["e"]),
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=5)
    for condition in (True, False):
        fed = [X, np.array(condition)]
        compare(run_module(model, fed), run_ort(model, fed), 2e-5)


def test_what_the_converter_made_has_no_declared_shape() -> None:
    model = one_node("Softmax", [X], 11)
    lifted = lift(model, 11, 18, "net")
    assert list(lifted.graph.value_info) == list(model.graph.value_info)
    assert lifted.graph.output[0] == model.graph.output[0]


def test_what_cannot_be_lifted_is_a_named_error() -> None:
    model = one_node("BatchNormalization", [X, *BATCH_NORM], 7, {1: CHANNEL}, spatial=0)
    with pytest.raises(UnsupportedOperatorError, match="spatial") as caught:
        prepare(model, "net")
    assert "operator set 7" in str(caught.value)
