"""Networks of half and double precision: float32 inside, their own element types outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from subbyte.errors import WeightError
from subbyte.graph.load.network import prepare, read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.passes.lowering.float32 import OTHER_FLOATS
from tests.graph.one_node import compare, run_module, run_ort

KINDS: dict[int, Any] = {
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 6, 6))


def model_of(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, int],
    opset: int = 19,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def conv_net(kind: int, wide: bool = False) -> onnx.ModelProto:
    """Conv, Clip, scaled Conv; inputs and outputs of ``kind``, or of float32 by Casts."""
    dtype = KINDS[kind]
    constants = {
        "w1": (RNG.standard_normal((4, 4, 3, 3)) / 6).astype(dtype),
        "w2": (RNG.standard_normal((4, 4, 1, 1)) / 2).astype(dtype),
        "b": np.linspace(-1, 1, 4).astype(dtype),
        "low": np.array(-0.5, dtype),
        "high": np.array(1.5, dtype),
        "scale": np.array([2.0], dtype),
    }
    inner, outer = ("h", "z") if wide else ("x", "y")
    nodes = [
        helper.make_node("Conv", [inner, "w1", "b"], ["a"], "c1", pads=[1] * 4),
        helper.make_node("Clip", ["a", "low", "high"], ["c"], "clip"),
        helper.make_node("Conv", ["c", "w2", "b"], ["d"], "c2"),
        helper.make_node("Mul", ["d", "scale"], [outer], "mul"),
    ]
    outside = TensorProto.FLOAT if wide else kind
    if wide:
        # In the order of float16 converters: the Casts come last.
        nodes += [
            helper.make_node("Cast", ["z"], ["y"], "out", to=TensorProto.FLOAT),
            helper.make_node("Cast", ["x"], ["h"], "in", to=kind),
        ]
    return model_of(nodes, constants, {"x": (outside, ["N", 4, 6, 6])}, {"y": outside})


def assert_float_inside(model: onnx.ModelProto) -> ir.Model:
    prepared = prepare(model, "net").model
    inside = [value for node in prepared.graph.all_nodes() for value in node.outputs]
    inside += [*prepared.graph.initializers.values()]
    for value in inside:
        if not value.is_graph_output():
            assert value.dtype not in OTHER_FLOATS, value
    return prepared


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("wide", [False, True])
def test_convolutions(kind: int, wide: bool) -> None:
    model = conv_net(kind, wide)
    prepared = assert_float_inside(model)
    outside = TensorProto.FLOAT if wide else kind
    border = [(v.name, v.dtype) for v in (*prepared.graph.inputs, *prepared.graph.outputs)]
    assert border == [("x", ir.DataType(outside)), ("y", ir.DataType(outside))]
    casts = [node for node in prepared.graph if node.op_type == "Cast"]
    assert len(casts) == (0 if wide else 2)
    assert len(prepare(model, "net").layers) == 2


def test_half_equals_onnxruntime() -> None:
    model = conv_net(TensorProto.FLOAT16)
    x = X.astype(np.float16)
    compare(run_module(model, [x]), run_ort(model, [x]), 4e-3)


CAST = helper.make_node("Cast", ["x"], ["h"], "h", to=TensorProto.FLOAT16)


def last(kind: str, *inputs: str) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), ["y"], "last")


def like(value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([value], np.float16))


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Constant", [], ["k"], value=like(2.5)), last("Mul", "h", "k")],
        [
            helper.make_node("Shape", ["h"], ["s"]),
            helper.make_node("ConstantOfShape", ["s"], ["k"], value=like(3.0)),
            last("Add", "h", "k"),
        ],
        [
            helper.make_node("EyeLike", ["h"], ["k"], dtype=TensorProto.FLOAT16),
            last("MatMul", "h", "k"),
        ],
        [helper.make_node("CastLike", ["x", "h"], ["k"]), last("Add", "h", "k")],
        [
            helper.make_node("QuantizeLinear", ["h", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["k"]),
            last("Add", "k", "h"),
        ],
        [
            helper.make_node("LayerNormalization", ["h", "six"], ["k"], stash_type=1),
            last("Mul", "k", "h"),
        ],
        [
            helper.make_node("Softmax", ["mask"], ["m"], axis=-1),
            helper.make_node("Add", ["h", "mask"], ["k0"]),
            helper.make_node("Softmax", ["k0"], ["k"], axis=-1),
            last("Add", "k", "m"),
        ],
    ],
    ids=["constant", "of_shape", "eye", "cast_like", "qdq", "norm", "mask"],
)
def test_every_place_of_a_type(nodes: list[onnx.NodeProto]) -> None:
    made = [CAST, *nodes]
    mask = np.triu(np.full((6, 6), -65504, np.float16), 1)
    mask[0, 5] = -np.inf
    constants: dict[str, np.ndarray] = {
        "scale": np.array(0.0625, np.float16),
        "zero": np.array(3, np.int8),
        "six": np.linspace(0.5, 2, 6).astype(np.float16),
        "mask": mask,
    }
    used = {name for node in made for name in node.input}
    constants = {name: value for name, value in constants.items() if name in used}
    model = model_of(
        made, constants, {"x": (TensorProto.FLOAT, [6, 6])}, {"y": TensorProto.FLOAT16}
    )
    assert_float_inside(model)
    x = X[0, 0].astype(np.float16).astype(np.float32)
    compare(run_module(model, [x]), run_ort(model, [x]), 4e-3)


def test_the_largest_double_is_no_bound_in_float32_either() -> None:
    limit = np.finfo(np.float64).max
    constants = {"low": np.array(-limit), "high": np.array(limit)}
    node = helper.make_node("Clip", ["x", "low", "high"], ["y"])
    model = model_of([node], constants, {"x": (TensorProto.DOUBLE, [2])}, {"y": TensorProto.DOUBLE})
    x = np.array([-3e38, 3e38])
    compare(run_module(model, [x]), run_ort(model, [x]))


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_doubles_beyond_float32_are_a_named_error(value: float) -> None:
    node = helper.make_node("Mul", ["x", "k"], ["y"], "times")
    model = model_of(
        [node],
        {"k": np.array([1.0, value])},
        {"x": (TensorProto.DOUBLE, [2])},
        {"y": TensorProto.DOUBLE},
    )
    with pytest.raises(WeightError) as caught:
        prepare(model, "net")
    assert "initializer k, node times" in str(caught.value)
    assert f"{value:.4g}" in str(caught.value)


def test_outputs_that_are_inputs_or_constants_keep_their_type() -> None:
    nodes = [
        helper.make_node("Add", ["x", "k"], ["y"], "add"),
        helper.make_node("Mul", ["y", "k"], ["z"], "mul"),
    ]
    kind = TensorProto.FLOAT16
    model = model_of(
        nodes,
        {"k": np.array([1.5, 2.0], np.float16)},
        {"x": (kind, [2])},
        {"x": kind, "y": kind, "k": kind, "z": kind},
    )
    x = np.array([0.25, 4], np.float16)
    network = prepare(model, "net")
    names = [str(value.name) for value in network.model.graph.outputs]
    assert names == ["x", "y", "k", "z"]
    compare(run_module(model, [x]), run_ort(model, [x]))
    assert GraphModule(network).input_names == ("x",)


def inner(name: str, kind: int, dtype: Any, op_type: str) -> onnx.GraphProto:
    """A branch that reads ``a`` from outside and has an initializer and a Constant of its own."""
    nodes = [
        helper.make_node("Constant", [], [f"{name}.k"], value=numpy_helper.from_array(dtype(0.5))),
        helper.make_node(op_type, ["a", f"{name}.k"], [f"{name}.b"]),
        helper.make_node("Cast", [f"{name}.b"], [f"{name}.c"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [f"{name}.c"], [f"{name}.d"], to=kind),
        helper.make_node("Mul", [f"{name}.d", f"{name}.w"], [f"{name}.y"]),
    ]
    made = helper.make_tensor_value_info(f"{name}.y", kind, None)
    weight = numpy_helper.from_array(np.linspace(1, 2, 6).astype(dtype), f"{name}.w")
    return helper.make_graph(nodes, name, [], [made], [weight])


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_graphs_within_nodes(kind: int) -> None:
    dtype = KINDS[kind]
    body_types = [("i", TensorProto.INT64, []), ("on", TensorProto.BOOL, []), ("s", kind, [6])]
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["s", "half"], ["t"]),
            helper.make_node("Add", ["t", "b"], ["out"]),
            helper.make_node("Identity", ["on"], ["go"]),
        ],
        "body",
        [helper.make_tensor_value_info(*entry) for entry in body_types],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("out", kind, [6]),
        ],
        [numpy_helper.from_array(dtype(0.5), "half")],
    )
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], "abs"),
        helper.make_node("ReduceMax", ["a"], ["m"], "max", keepdims=0),
        helper.make_node("Greater", ["m", "one"], ["c"], "greater"),
        helper.make_node(
            "If",
            ["c"],
            ["b"],
            "if",
            then_branch=inner("then", kind, dtype, "Add"),
            else_branch=inner("else", kind, dtype, "Sub"),
        ),
        helper.make_node("Loop", ["count", "true", "b"], ["y"], "loop", body=body),
    ]
    constants = {"one": dtype(1), "count": np.array(3), "true": np.array(True)}
    model = model_of(nodes, constants, {"x": (kind, [6])}, {"y": kind})
    prepared = assert_float_inside(model)
    inside = [value for graph in prepared.graph.subgraphs() for value in graph.inputs]
    inside += [v for graph in prepared.graph.subgraphs() for v in graph.initializers.values()]
    assert not [value for value in inside if value.dtype in OTHER_FLOATS]
    for scale in (0.25, 4):
        x = (scale * np.linspace(-1, 1, 6)).astype(dtype)
        compare(run_module(model, [x]), run_ort(model, [x]), 4e-3)


def test_data_that_are_mapped_are_converted_at_each_use(tmp_path: Path) -> None:
    model, path = conv_net(TensorProto.FLOAT16), tmp_path / "net.onnx"
    expected = prepare(model, "net", large_bytes=16).model.graph.initializers
    onnx.save_model(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    found = read_network(path, large_bytes=16).model.graph.initializers["w1"].const_value
    assert isinstance(found, ir.LazyTensor)
    assert found.dtype == ir.DataType.FLOAT
    first = expected["w1"].const_value
    assert first is not None
    np.testing.assert_array_equal(found.numpy(), first.numpy())
    assert not np.shares_memory(found.numpy(), found.numpy())
