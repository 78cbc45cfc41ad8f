"""Files without functions: the same weights, the same results, in two runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from subbyte.graph.compressed.inline import LAYER_KEY, inline
from subbyte.graph.functions.body import DOMAIN
from subbyte.graph.write.model import write_network
from subbyte.methods import METHODS
from tests.graph.builder import Builder
from tests.graph.coding import code_network, coded_module, session, values_of
from tests.graph.unary import FUNCTIONS
from tests.graph.written import Case, built, image_net, run

NETS = ("resnet", "densenet", "mobilenet_v3", "bert")


def openvino_run(model: onnx.ModelProto, case: Case, folder: Path) -> list[np.ndarray]:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    path = folder / "inlined.onnx"
    onnx.save(model, path)
    core = openvino.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    results = core.compile_model(core.read_model(path), "CPU", exact)(case.inputs)
    return [np.asarray(results[index]) for index in range(len(model.graph.output))]


@pytest.mark.parametrize("name", NETS)
def test_onnxruntime_gives_the_same(name: str) -> None:
    case = image_net(name)
    inlined = inline(case.model)
    assert not inlined.functions
    assert DOMAIN not in {node.domain for node in inlined.graph.node}
    assert DOMAIN not in {entry.domain for entry in inlined.opset_import}
    for a, b in zip(run(case.model, case), run(inlined, case), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NETS)
def test_openvino_computes_the_plan(name: str, tmp_path: Path) -> None:
    case = image_net(name)
    outputs = openvino_run(inline(case.model), case, tmp_path)
    for y, simulated, exact in zip(outputs, case.simulated(), case.exact(), strict=True):
        step = np.abs(simulated - exact).max()
        assert np.abs(y - simulated).max() <= 2 * step + 1e-5


@pytest.mark.parametrize(
    "method", ["scalar", "product", "gain", "ternary", "composite", "factored", "binary"]
)
def test_openvino_unpacks_every_method(method: str, tmp_path: Path) -> None:
    """Float activations: nothing hides a wrong weight."""
    b = Builder(channels=10)
    case = built(b, method, **{b.head(b.conv("a", "x", 10, 16), 16): 2})
    model = inline(write_network(case.network, case.coded))
    assert {coded.method for coded in case.coded.values()} <= set(METHODS)
    (actual,) = openvino_run(model, case, tmp_path)
    (expected,) = case.exact()
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_openvino_unpacks_every_width(bits: int, tmp_path: Path) -> None:
    b = Builder()
    case = built(b, **{b.head(b.conv("a", "x", 8, 8), 8): 2})
    coded = code_network(case.network, "scalar", bits=bits)
    (actual,) = openvino_run(inline(write_network(case.network, coded)), case, tmp_path)
    expected = values_of(coded_module(case.network, coded), case.inputs)["scores"].numpy()
    np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_packed_weights_stay_packed_and_layers_keep_their_names() -> None:
    case = image_net("resnet")
    inlined = inline(case.model)
    before = {t.name: t.raw_data for t in case.model.graph.initializer if "." in t.name}
    after = {t.name: t.raw_data for t in inlined.graph.initializer}
    assert before == {name: after[name] for name in before}
    labels = {
        node.name: prop.value
        for node in inlined.graph.node
        for prop in node.metadata_props
        if prop.key == LAYER_KEY
    }
    assert labels == {
        node.name: node.op_type
        for node in case.model.graph.node
        if node.name and node.domain == DOMAIN
    }


def test_tables_of_functions_are_left_out() -> None:
    b = Builder()
    y = FUNCTIONS["silu"](b, b.conv("a", "x", 8, 8))
    case = built(b, **{b.head(b.conv("last", y, 8, 8), 8): 2})
    inlined = inline(case.model)
    read = {name for node in inlined.graph.node for name in node.input}
    assert {tensor.name for tensor in inlined.graph.initializer} <= read
    assert "Sigmoid" in {node.op_type for node in inlined.graph.node}
    (expected,) = session(case.model).run(None, case.inputs)
    (actual,) = session(inlined).run(None, case.inputs)
    np.testing.assert_array_equal(actual, expected)


def test_constants_are_computed_once() -> None:
    case = image_net("resnet")
    inlined = inline(case.model)
    arrays = [t.raw_data for t in inlined.graph.initializer if "." not in t.name]
    shapes = [(tuple(t.dims), t.data_type) for t in inlined.graph.initializer if "." not in t.name]
    assert len(set(zip(arrays, shapes, strict=True))) == len(arrays)
    assert "Constant" not in {node.op_type for node in inlined.graph.node}
    assert "Shape" not in {node.op_type for node in inlined.graph.node}


def test_shared_weight_is_unpacked_once() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    y = b.op("Conv", "again", a, "a.weight", "a.bias", pads=[1] * 4)
    inlined = inline(built(b, "gain", **{b.head(y, 8): 2}).model)
    convs = [node for node in inlined.graph.node if node.op_type == "Conv"]
    assert len(convs) == 2
    assert convs[0].input[1] == convs[1].input[1]


def test_inlined_file_runs_unoptimized() -> None:
    case = image_net("resnet")
    (a,) = run(case.model, case, optimize=False)
    (b,) = session(inline(case.model), optimize=False).run(None, case.inputs)
    np.testing.assert_allclose(a, b, atol=1e-6)
