"""Operators without a row of the table: ONNX Runtime runs them in the module, the file has them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from subbyte.errors import UnsupportedOperatorError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.gradient import untrained
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.write.model import write_network
from tests import tiny
from tests.graph.foreign import (
    DISTANCE,
    MICROSOFT,
    RNG,
    Array,
    X,
    between,
    node,
    normal,
    one_layer_behind,
)
from tests.graph.one_node import check, compare, run_module, run_ort

MAP = normal(2, 3, 6, 6)


def assert_same(model: onnx.ModelProto, x: Array = X) -> Network:
    """Module and written file equal ONNX Runtime on the source."""
    network = prepare(model, "net")
    expected = run_ort(model, [x])
    compare(run_module(model, [x]), expected)
    compare(run_ort(write_network(network, {}), [x]), expected)
    return network


CONTRIB: list[tuple[onnx.NodeProto, dict[str, Array]]] = [
    (DISTANCE, {"other": normal(8, 8)}),
    (
        node("QLinearSigmoid", "q s z t z", "b8", domain=MICROSOFT),
        {"s": np.float32(0.05), "t": np.float32(1 / 256), "z": np.uint8(0)},
    ),
]


@pytest.mark.parametrize(("made", "constants"), CONTRIB, ids=lambda x: getattr(x, "op_type", ""))
@pytest.mark.parametrize("batch", ["N", 3])
def test_operators_of_onnx_runtime(
    made: onnx.NodeProto, constants: dict[str, Array], batch: int | str
) -> None:
    nodes = [made]
    if made.op_type.startswith("QLinear"):
        before = node("QuantizeLinear", "a s z", "q")
        nodes = [before, made, node("DequantizeLinear", "b8 t z", "b")]
    network = assert_same(between(nodes, constants, batch))
    assert [layer.op for layer in network.layers] == ["Linear", "Linear"]
    assert network.fixed_batch is None


@pytest.mark.parametrize(
    ("op_type", "inputs", "more"),
    [
        ("MaxPool", [MAP], {"outputs": 2, "kernel_shape": [2, 2]}),
        ("GridSample", [MAP, np.tanh(normal(2, 4, 4, 2))], {"opset": 20}),
        ("DynamicQuantizeLinear", [X], {"outputs": 3}),
        ("Unique", [np.array([2, 1, 1, 3], np.int64)], {"outputs": 4}),
        ("STFT", [normal(1, 32, 1), np.array(8, np.int64), normal(16)], {}),
        (
            "Resize",
            [MAP, np.array([0, 0, 0.1, 0.1, 1, 1, 0.9, 0.9], np.float32), np.ones(4, np.float32)],
            {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"},
        ),
    ],
)
def test_standard_operators_and_forms(
    op_type: str, inputs: list[Array], more: dict[str, Any]
) -> None:
    check(op_type, inputs, **more)


def test_sequences_stay_within_one_step() -> None:
    nodes = [
        node("SplitToSequence", "a parts", "s", axis=1, keepdims=1),
        node("Relu", "x", "aside"),
        node("SequenceAt", "s zero", "first"),
        node("Neg", "first", "negative"),
        node("SequenceInsert", "s negative", "more"),
        node("ConcatFromSequence", "more", "c", axis=1),
        node("Concat", "c aside", "b", axis=1),
    ]
    constants = {"parts": np.array([3, 5], np.int64), "zero": np.array(0, np.int64)}
    network = assert_same(between(nodes, constants, width=19))
    module = GraphModule(network)
    assert [step.op_type for step in module.steps if step.row is None] == ["SplitToSequence"]
    assert [step.op_type for step in module.steps][-2:] == ["Concat", "Linear"]


def test_a_layer_among_sequences_is_refused() -> None:
    nodes = [
        node("SequenceConstruct", "a", "s"),
        node("SequenceAt", "s zero", "first"),
        node("Gemm", "first w1", "again"),
        node("SequenceInsert", "s again", "more"),
        node("ConcatFromSequence", "more", "b", axis=1),
    ]
    with pytest.raises(UnsupportedOperatorError) as caught:
        prepare(between(nodes, {"zero": np.array(0, np.int64)}, width=16), "net")
    assert "node again" in str(caught.value)
    assert "SequenceConstruct (node s)" in str(caught.value)


def test_texts_and_small_floats_stay_within_one_step() -> None:
    nodes = [
        node("Cast", "a", "text", to=TensorProto.STRING),
        node("Cast", "text", "wide", to=TensorProto.FLOAT),
        node("Cast", "wide", "eight", to=TensorProto.FLOAT8E4M3FN),
        node("Cast", "eight", "b", to=TensorProto.FLOAT),
    ]
    model = between(nodes)
    model.opset_import[0].version = 19
    model.ir_version = 9
    module = GraphModule(assert_same(model))
    assert [step.op_type for step in module.steps].count("Cast") == 2


def test_weights_of_four_bits_are_folded() -> None:
    codes = helper.make_tensor("codes", TensorProto.INT4, [8, 8], RNG.integers(-8, 8, 64))
    nodes = [node("DequantizeLinear", "codes scale", "w3"), node("MatMul", "a w3", "b")]
    model = between(nodes, {"scale": np.float32(0.1)})
    model.opset_import[0].version = 21
    model.ir_version = 10
    model.graph.initializer.append(codes)
    network = assert_same(model)
    assert [layer.weight for layer in network.layers] == ["w1", "codes", "w2"]


def test_what_comes_behind_the_last_layer() -> None:
    """Boxes are chosen, texts and sequences given out: copied; the module gives the tensors."""
    nodes = [
        node("Gemm", "x w", "a"),
        node("Reshape", "a boxes", "b"),
        node("Slice", "a zero two one", "p"),
        node("Reshape", "p scores", "q"),
        node("NonMaxSuppression", "b q most _ least", "chosen"),
        node("SequenceConstruct", "a p", "all"),
        node("Cast", "a", "text", to=TensorProto.STRING),
    ]
    constants = {
        "w": normal(8, 8),
        "boxes": np.array([1, -1, 4], np.int64),
        "scores": np.array([1, 1, -1], np.int64),
        "most": np.array(3, np.int64),
        "least": np.float32(0.2),
        **{name: np.array([place], np.int64) for place, name in enumerate(("zero", "one", "two"))},
    }
    model = tiny.build(nodes, constants, {"x": ["N", 8]}, {"a": ["N", 8]})
    for name, kind in (("chosen", TensorProto.INT64), ("text", TensorProto.STRING)):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, [None, None]))
    sequence = helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, None)
    model.graph.output.append(sequence)
    x = normal(1, 8)
    network = prepare(model, "net")
    module = GraphModule(network)
    assert module.output_names == ("a", "chosen")
    expected = run_ort(model, [x])
    compare([y.detach().numpy() for y in module(torch.from_numpy(x))], expected[:2])
    written = run_ort(write_network(network, {}), [x])
    compare(written[:2], expected[:2])
    assert written[2].tolist() == expected[2].tolist()
    compare(written[3], expected[3])


def test_random_numbers_are_not_folded() -> None:
    nodes = [node("RandomNormal", "", "r", shape=[1, 8]), node("Add", "a r", "b")]
    network = prepare(between(nodes), "net")
    assert "RandomNormal" in {made.op_type for made in network.model.graph}
    module = GraphModule(network)
    with torch.no_grad():
        assert not torch.equal(module(torch.zeros(1, 8)), module(torch.zeros(1, 8)))


def module_of(*nodes: onnx.NodeProto, constants: Mapping[str, Array] | None = None) -> GraphModule:
    return GraphModule(prepare(between(nodes, constants), "net"))


def test_no_gradient_flows_through() -> None:
    module = module_of(DISTANCE, constants={"other": normal(8, 8)})
    module(torch.from_numpy(X)).sum().backward()
    assert module.constant("w1").grad is None
    assert module.constant("w2").grad is not None


def test_constants_are_read_anew() -> None:
    module = module_of(DISTANCE, constants={"other": normal(8, 8)})
    assert "values.other" not in dict(module.named_parameters())
    x = torch.from_numpy(X)
    before = module(x)
    module.set_constant("other", torch.from_numpy(normal(8, 8)))
    assert not torch.allclose(module(x), before)


def test_copies_and_pickles() -> None:
    module = module_of(DISTANCE, constants={"other": normal(8, 8)})
    x = torch.from_numpy(X)
    expected = module(x)
    assert torch.equal(copy.deepcopy(module)(x), expected)
    kernel = next(step.kernel for step in module.steps if step.row is None)
    other = pickle.loads(pickle.dumps(kernel))
    given = (x, module.constant("other"))
    assert torch.equal(other(*given)[0], kernel(*given)[0])


def test_what_onnx_runtime_cannot_run_is_named() -> None:
    made = node("BiasSoftmax", "a bias", "b", domain=MICROSOFT, axis=1, is_inner_broadcast=0)
    module = module_of(made, constants={"bias": normal(1, 8)})
    with pytest.raises(UnsupportedOperatorError) as caught:
        module(torch.from_numpy(X))
    message = str(caught.value)
    assert "com.microsoft.BiasSoftmax (node b, opset 1)" in message
    assert "cut before the node" in message
    assert "Could not find an implementation" in message
    assert "\n" not in message


def test_what_fails_on_these_samples_is_an_error_as_of_torch() -> None:
    module = module_of(DISTANCE, constants={"other": normal(8, 8)})
    step = next(step for step in module.steps if step.row is None)
    with pytest.raises(RuntimeError, match=r"com.microsoft.CDist \(node b, opset 1\)"):
        step.kernel(torch.zeros(2, 8), torch.zeros(3, 7))


def test_layers_without_a_gradient() -> None:
    assert untrained(prepare(one_layer_behind(), "net")) == {"a": "CDist (node y)"}
    distance = node("CDist", "a other", "d", domain=MICROSOFT, metric="sqeuclidean")
    other = {"other": normal(8, 8)}
    beside = between([distance, node("Add", "d a", "b")], other)
    assert untrained(prepare(beside, "net")) == {}
    behind = between([distance, node("Relu", "d", "b")], other)
    assert set(untrained(prepare(behind, "net"))) == {"a"}
