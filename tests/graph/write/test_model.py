"""The file that is written: what onnxruntime makes of it, and that it computes the plan."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from subbyte.errors import OutputError, ProofError
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.load.network import prepare, read_network
from subbyte.graph.write.model import write_network
from subbyte.report import inspect
from tests.graph.builder import Builder
from tests.graph.coding import (
    calibrate,
    code_network,
    coded_module,
    session,
    values_of,
)
from tests.graph.written import Case, assert_computes_the_plan, built, image_net, run

DATA = Path(os.environ.get("SUBBYTE_DATA", Path(__file__).parents[4] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder: set SUBBYTE_DATA")

IMAGE_NETS = ("resnet", "vgg", "densenet", "mobilenet_v2", "mobilenet_v3")
INTEGER = {
    *("QLinearConv", "QLinearAdd", "QLinearMul", "QLinearGlobalAveragePool", "QLinearConcat"),
    *("QLinearAveragePool", "NhwcMaxPool", "MatMulIntegerToFloat", "QLinearLeakyRelu"),
}
MOVES = {"Transpose", "Flatten", "Reshape", "Concat", "Slice", "Pad", "Clip"}
BORDERS = {"QuantizeLinear", "DequantizeLinear", "Sub"}


def optimized(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Operators that onnxruntime runs."""
    path = folder / "optimized.onnx"
    session(model, str(path))
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_image_networks_compute_the_plan(name: str) -> None:
    assert_computes_the_plan(image_net(name))


@pytest.mark.parametrize("name", ["bert", "vit", "decoder", "speech"])
def test_other_networks_compute_the_plan(name: str) -> None:
    assert_computes_the_plan(image_net(name))


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_onnxruntime_runs_integer_operators(name: str, tmp_path: Path) -> None:
    case = image_net(name)
    operators = optimized(case.model, tmp_path)
    # Arithmetic that has no integer operator: BatchNorm after a concatenation, HardSwish.
    arithmetic = {"densenet": {"Mul", "Add"}, "mobilenet_v3": {"HardSigmoid", "Mul"}}
    assert set(operators) <= INTEGER | MOVES | BORDERS | arithmetic.get(name, set())
    layers = sum(operators[kind] for kind in ("QLinearConv", "MatMulIntegerToFloat"))
    assert layers == len(case.network.layers)


@pytest.mark.parametrize(("name", "sums"), [("resnet", 2), ("mobilenet_v2", 1)])
def test_no_transpose_but_at_the_border(name: str, sums: int, tmp_path: Path) -> None:
    operators = optimized(image_net(name).model, tmp_path)
    assert operators["Transpose"] == 1
    assert operators["QLinearAdd"] == sums


@needs_data
def test_resnet20_is_integer_throughout(tmp_path: Path) -> None:
    network = read_network(DATA / "cifar10_resnet" / "resnet20.onnx")
    rng = np.random.default_rng(0)
    case = Case(network, {"input": rng.standard_normal((2, 3, 32, 32)).astype(np.float32)}, "gain")
    assert optimized(case.model, tmp_path) == {
        **{"QuantizeLinear": 1, "Transpose": 1, "QLinearConv": 19, "QLinearAdd": 9, "Slice": 2},
        **{"Pad": 2, "QLinearGlobalAveragePool": 1, "Flatten": 1, "MatMulIntegerToFloat": 1},
        "Sub": 1,
    }
    assert_computes_the_plan(case)


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_float_activations_are_exact(name: str) -> None:
    case = image_net(name)
    model = write_network(case.network, case.coded)
    for y, exact in zip(run(model, case), case.exact(), strict=True):
        np.testing.assert_allclose(y, exact, atol=2e-4)
    reasons = {
        prop.value
        for node in model.graph.node
        if node.domain == DOMAIN
        for prop in node.metadata_props
    }
    assert reasons == {"activations kept float"}
    assert not any("Quantize" in node.op_type for node in model.graph.node)


def test_islands_of_every_kind_of_node() -> None:
    b = Builder()
    a = b.op("Relu", "r", b.conv("a", "x", 8, 16))
    pooled = b.op(
        "AveragePool",
        "p",
        a,
        kernel_shape=[3, 3],
        strides=[1, 1],
        pads=[1] * 4,
        count_include_pad=1,
    )
    low, high = b.constant("low", -1.0), b.constant("high", 1.0)
    clipped = b.op("Clip", "c", b.conv("b", "x", 8, 16), low, high)
    y = b.op("Concat", "cat", pooled, clipped, b.conv("d", a, 16, 4), axis=1)
    y = b.op("Relu", "r2", b.op("Add", "s", y, b.conv("e", a, 16, 36)))
    y = b.op("Resize", "big", y, "", b.constant("twice", [1, 1, 2, 2]), mode="nearest")
    y = b.op("MaxPool", "m", y, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    shape = b.constant("four", [9, 9, 9, 9], np.int64)
    b.op("Split", "s0", y, shape, axis=1)
    b.nodes[-1].output[:] = ["s0", "s1", "s2", "s3"]
    z = b.op("Mul", "gate", "s0", b.op("GlobalAveragePool", "g", "s1"))
    z = b.op("Concat", "cat2", z, b.op("LeakyRelu", "l", b.conv("f", "s2", 9, 9)), "s3", axis=1)
    pads = b.constant("pads", [0, 1, 1, 0, 0, 2, 0, 1], np.int64)
    z = b.op("Pad", "pad", z, pads, b.constant("fill", 0.25))
    starts, ends = b.constant("starts", [1, -1], np.int64), b.constant("ends", [8, -9], np.int64)
    axes, steps = b.constant("axes", [2, 3], np.int64), b.constant("steps", [2, -1], np.int64)
    z = b.op("Slice", "slice", z, starts, ends, axes, steps)
    turned = b.op("Transpose", "turned", b.conv("h", z, 30, 6), perm=[0, 2, 3, 1])
    rows = b.op("Reshape", "rows", turned, b.constant("shape", [0, -1], np.int64))
    case = built(b, **{b.linear("out", rows, 4 * 8 * 6, 5): 2})
    assert {layer.form for layer in case.plan.layers.values()} == {"uint8", "dequant"}
    assert_computes_the_plan(case)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pads_of_every_mode_stay_on_the_island(mode: str, tmp_path: Path) -> None:
    b = Builder()
    pads = b.constant("pads", [0, 0, 1, 2, 0, 0, 3, 0], np.int64)
    a = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    # Zeros would go into the convolution behind them.
    fill = b.constant("fill", 0.5)
    y = b.op("Pad", "p", a, pads, fill, mode=mode)
    case = built(b, **{b.head(b.conv("c", y, 8, 8), 8): 2})
    assert case.plan.group_of["p"] == case.plan.group_of["a"]
    assert_computes_the_plan(case)
    operators = optimized(case.model, tmp_path)
    assert (operators["Pad"], operators["Transpose"]) == (1, 1)
    assert operators["QuantizeLinear"] == 1


ORDERS = {
    "all": [0, 4, 1, 5, 2, 6, 3, 7],
    "more": [7, 6, 5, 4, 3, 2, 1, 0, 3],
    "half, as a shuffle of it": [0, 2, 1, 3],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_channels_in_another_order_stay_on_the_island(order: list[int], tmp_path: Path) -> None:
    b = Builder()
    places = b.constant("order", order, np.int64)
    y = b.op("Gather", "g", b.conv("a", "x", 8, 8), places, axis=1)
    case = built(b, **{b.head(b.conv("c", y, len(order), 8), 8): 2})
    assert case.plan.group_of["g"] == case.plan.group_of["a"]
    assert_computes_the_plan(case)
    assert optimized(case.model, tmp_path)["QuantizeLinear"] == 1


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
def test_pools_at_the_rim(kind: str, ceil_mode: int, pads: list[int]) -> None:
    b = Builder()
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads, "ceil_mode": ceil_mode}
    x = b.conv("a", "x", 8, 8)
    y = b.conv("c", b.op(kind, "p", x, **window), 8, 8)
    if kind == "AveragePool":
        z = b.op(kind, "q", b.conv("b", x, 8, 8), **window, count_include_pad=1)
        y = b.op("Concat", "cat", y, b.conv("d", z, 8, 8), axis=1)
    case = built(b, **{b.head(y, 8 if kind == "MaxPool" else 16): 2})
    assert "p" in case.plan.nodes
    assert_computes_the_plan(case)


@pytest.mark.parametrize(("steepest", "operator"), [(0.9, "Max"), (1.5, "PRelu")])
def test_channel_slopes_and_norms_work_with_the_channels_last(
    steepest: float, operator: str, tmp_path: Path
) -> None:
    b = Builder()
    joined = b.op("Concat", "cat", b.conv("a", "x", 8, 8), b.conv("b", "x", 8, 8), axis=1)
    entries = [b.constant(f"bn{i}", b.rng.uniform(0.5, 2, 16)) for i in range(4)]
    y = b.op("BatchNormalization", "bn", joined, *entries)
    slope = b.constant("slope", np.linspace(-0.5, steepest, 16).reshape(16, 1, 1))
    case = built(b, **{b.head(b.conv("c", b.op("PRelu", "p", y, slope), 16, 8), 8): 2})
    assert_computes_the_plan(case)
    operators = optimized(case.model, tmp_path)
    assert operators[operator] == 1
    assert operators["Transpose"] == 1


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_sum_or_product_before_pointwise_nodes_is_float(kind: str, tmp_path: Path) -> None:
    b = Builder()
    x = b.conv("a", "x", 8, 8)
    z = b.conv("b", x, 8, 8)
    y = b.op("LeakyRelu", "l", b.op(kind, "s", x, z), alpha=0.1)
    y = b.op("Concat", "c", b.conv("d", y, 8, 8), z, axis=1)
    case = built(b, **{b.head(b.conv("e", y, 16, 8), 8): 2})
    assert_computes_the_plan(case)
    operators = optimized(case.model, tmp_path)
    assert operators[kind] == 1
    assert operators["QLinearAdd"] == operators["QLinearMul"] == 0
    assert operators["Transpose"] == 1


def test_product_with_one_factor_a_channel_is_float_before_a_pointwise_node() -> None:
    """As in squeeze and excitation: the factors have a height and a width of one."""
    b = Builder()
    x = b.conv("a", "x", 8, 8)
    factors = b.conv("f", b.op("GlobalAveragePool", "p", x), 8, 8, kernel=1)
    y = b.op("LeakyRelu", "l", b.op("Mul", "s", x, factors), alpha=0.1)
    case = built(b, **{b.head(b.conv("d", y, 8, 8), 8): 2})
    assert "s" in case.plan.nodes
    assert "s" not in case.plan.group_of
    assert_computes_the_plan(case)


def test_mean_over_the_map_in_both_forms() -> None:
    b = Builder()
    axes = b.constant("axes", [2, 3], np.int64)
    kept = b.op("ReduceMean", "kept", b.conv("a", "x", 8, 8), axes, keepdims=1)
    rows = b.op("ReduceMean", "rows", b.conv("b", "x", 8, 8), axes, keepdims=0)
    flat = b.op("Squeeze", "flat", b.conv("c", kept, 8, 8, kernel=1), axes)
    joined = b.op("Concat", "cat", rows, flat, axis=1)
    case = built(b, **{b.linear("out", joined, 16, 5): 2})
    assert {"kept", "rows", "flat", "cat"} <= case.plan.nodes
    assert_computes_the_plan(case)


def test_map_read_in_both_layouts_and_given_out() -> None:
    b = Builder()
    a = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    rows = b.op("Flatten", "rows", a)
    b.linear("out", rows, 8 * 64, 5)
    b.conv("b", a, 8, 8)
    case = built(b, r=4, out=2, b=4)
    assert [value.name for value in case.model.graph.output] == ["r", "out", "b"]
    assert_computes_the_plan(case)


def test_branches_read_no_dequantized_value_that_is_only_moved() -> None:
    # onnxruntime ends the process when it moves the DequantizeLinear behind the node that moves.
    b = Builder()
    flat = b.constant("flat", [0, -1], np.int64)
    rows = b.op("Reshape", "rows", b.conv("b", b.conv("a", "x", 8, 8), 8, 8), flat)
    axes = b.constant("axes", [0, 1], np.int64)
    mean = b.op("ReduceMean", "mean", rows, axes, keepdims=0)
    branches = {}
    for name, kind in (("then_branch", "Tanh"), ("else_branch", "Neg")):
        result = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        node = onnx.helper.make_node(kind, [rows], [name])
        branches[name] = onnx.helper.make_graph([node], name, [], [result])
    b.op("If", "y", b.op("Greater", "large", mean, b.constant("zero", 0.0)), **branches)
    case = built(b, y=2)
    (choice,) = (node for node in case.model.graph.node if node.op_type == "If")
    made_by = {name: node for node in case.model.graph.node for name in node.output}
    for attribute in choice.attribute:
        assert made_by[attribute.g.node[0].input[0]].op_type == "Clip"
    assert_computes_the_plan(case)


def test_layers_without_codes_are_standard_nodes() -> None:
    b = Builder()
    y = b.conv("b", b.op("Relu", "r", b.conv("a", "x", 8, 8)), 8, 8)
    network = b.network(**{b.head(y, 8): 2})
    coded = {"b.weight": code_network(network)["b.weight"]}
    model = write_network(network, coded)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Conv"] == kinds["ScalarConvFloat"] == kinds["MatMul"] == 1
    env = values_of(coded_module(network, coded), b.samples())
    (actual,) = session(model).run(None, b.samples())
    np.testing.assert_allclose(actual, env["scores"].numpy(), atol=1e-5)


def test_given_biases_replace_the_networks_own() -> None:
    b = Builder()
    network = b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2})
    coded = code_network(network)
    zeros = {"a": np.zeros(8, np.float32), "scores": np.zeros(10, np.float32)}
    one = np.ones(10, np.float32)
    (without,) = session(write_network(network, coded, zeros)).run(None, b.samples())
    shifted = write_network(network, coded, {**zeros, "scores": one})
    (with_one,) = session(shifted).run(None, b.samples())
    np.testing.assert_allclose(with_one - without, 1, atol=1e-6)


def test_shared_weight_is_stored_once() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    y = b.op("Conv", "again", a, "a.weight", "a.bias", pads=[1] * 4)
    case = built(b, **{b.head(y, 8): 2})
    names = [tensor.name for tensor in case.model.graph.initializer]
    assert sum(name.endswith(".codes") for name in names) == 2
    nodes = {node.name: node for node in case.model.graph.node}
    assert nodes["a"].input[1] == nodes["again"].input[1]
    assert_computes_the_plan(case)


@pytest.mark.parametrize("all_coded", [True, False])
def test_half_precision_network(all_coded: bool) -> None:
    b = Builder()
    model = b.model(**{b.head(b.op("Relu", "r", b.conv("a", "x", 8, 8)), 8): 2})
    dtype = np.float16
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    network = prepare(model, "small")
    coded = code_network(network)
    if not all_coded:
        del coded["scores.weight"]
    assert {layer.form for layer in plan_islands(network).layers.values()} == {"uint8", "dequant"}
    samples = {"x": b.samples()["x"].astype(dtype)}
    (y,) = session(write_network(network, coded)).run(None, samples)
    assert y.dtype == dtype
    half = values_of(coded_module(network, coded), samples)
    np.testing.assert_allclose(
        y, half[network.model.graph.outputs[0].name or ""].numpy(), atol=2e-2
    )


def test_free_spatial_sizes() -> None:
    b = Builder()
    b.inputs = {"x": ["N", 8, "H", "W"]}
    a = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    y = b.op("Relu", "q", b.op("Add", "s", b.conv("b", a, 8, 8), a))
    network = b.network(**{b.head(b.conv("c", y, 8, 8), 8): 2})
    inputs = np.random.default_rng(0).standard_normal((2, 8, 10, 12)).astype(np.float32)
    case = Case(network, {"x": inputs}, "scalar")
    assert_computes_the_plan(case)
    other = {"x": np.zeros((1, 8, 5, 7), np.float32)}
    assert session(case.model).run(None, other)[0].shape == (1, 10)


def test_layer_kept_float_between_islands() -> None:
    b = Builder()
    y = b.conv("b", b.op("Relu", "r", b.conv("a", "x", 8, 8)), 8, 8)
    network = b.network(**{b.head(b.conv("c", y, 8, 8), 8): 2})
    case = Case(network, b.samples(), "scalar")
    case.plan = plan_islands(network, keep_float={"r": "too wide"})
    case.params = calibrate(case.module, case.plan, case.inputs)
    case.model = write_network(network, case.coded, None, case.plan, case.params)
    reasons = {
        node.name: prop.value for node in case.model.graph.node for prop in node.metadata_props
    }
    assert reasons == {"a": "output: too wide", "b": "input: too wide"}
    assert_computes_the_plan(case)


def test_header_survives_and_nothing_is_left_over() -> None:
    b = Builder()
    model = b.model(**{b.head(b.conv("a", "x", 8, 8), 8): 2})
    onnx.helper.set_model_props(model, {"author": "somebody"})
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(5), "unused"))
    network = prepare(model, "small")
    written = write_network(network, code_network(network))
    assert {p.key: p.value for p in written.metadata_props} == {
        "author": "somebody",
        "subbyte.format": "1",
    }
    assert written.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    used = {name for node in written.graph.node for name in node.input}
    assert {tensor.name for tensor in written.graph.initializer} <= used
    assert {node.op_type for node in written.graph.node if node.domain == DOMAIN} <= {
        function.name for function in written.functions
    }


@pytest.mark.parametrize(("given", "expected"), [(18, 18), (20, 20), (21, 21), (23, 21)])
def test_operator_set(given: int, expected: int) -> None:
    b = Builder(opset=given)
    y = b.op("Swish", "w", "x") if given > 23 else b.op("Relu", "w", "x")
    network = b.network(**{b.head(b.conv("a", y, 8, 8), 8): 2})
    model = write_network(network, code_network(network))
    assert model.opset_import[0].version == expected
    (y,) = session(model).run(None, b.samples())
    assert np.isfinite(y).all()


def test_operator_set_with_a_newer_operator_is_kept() -> None:
    b = Builder(opset=23)
    scale = b.constant("scale", np.ones(8))
    y = b.op("RMSNormalization", "norm", "x", scale, axis=3)
    network = b.network(**{b.head(b.conv("a", y, 8, 8), 8): 2})
    assert write_network(network, code_network(network)).opset_import[0].version == 23


def test_too_large_for_one_file() -> None:
    b = Builder()
    network = b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2})
    coded = code_network(network)
    with pytest.raises(OutputError, match="too large for one ONNX file"):
        write_network(network, coded, max_bytes=500)


def test_missing_parameters_are_our_own_mistake() -> None:
    b = Builder()
    network = b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2})
    with pytest.raises(ValueError, match="no quantization for the group of 'x'"):
        write_network(network, code_network(network), activations={})


def test_every_byte_is_accounted_for(tmp_path: Path) -> None:
    """What `inspect` says of a file that holds coded, shared and float layers."""
    b = Builder()
    a = b.conv("a", "x", 8, 16)
    again = b.op("Conv", "again", b.conv("b", a, 16, 16), "b.weight", "b.bias", pads=[1] * 4)
    network = b.network(**{b.head(again, 16): 2})
    coded = code_network(network, "gain")
    del coded["scores.weight"]
    path = tmp_path / "m.onnx"
    onnx.save(write_network(network, coded), path)
    report = inspect(path)
    assert report.file_bytes == path.stat().st_size == sum(report.parts.values())
    packed = sum(weight.nbytes for weight in coded.values())
    assert report.parts["weights"] == packed + 4 * 16 * 10
    assert report.weight_count == 8 * 16 * 9 + 16 * 16 * 9 + 16 * 10
    methods = {layer["name"]: layer["method"] for layer in report.layers}
    assert methods == {"a": "product", "b, again": "product", "scores": "float"}


def test_same_bytes_every_time() -> None:
    b = Builder()
    network = b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2})
    coded = code_network(network)
    first, second = (
        write_network(network, coded).SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second


def test_what_no_runtime_opens_is_an_error_that_names_the_node() -> None:
    """An exporter's Transpose with an axis from the end, which the standard does not know."""
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        onnx.helper.make_node("Transpose", ["m"], ["y"], "turned", perm=[0, -1, 1]),
    ]
    described = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 5, 4])
        for name in "xy"
    ]
    graph = onnx.helper.make_graph(nodes, "g", described[:1], described[1:], [weight])
    imports = [onnx.helper.make_opsetid("", 18)]
    network = prepare(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), "turned")
    with pytest.raises(ProofError, match=r"Transpose.*perm"):
        write_network(network, {})
