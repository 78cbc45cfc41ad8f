from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import subbyte
from subbyte.errors import ModelFileError
from subbyte.graph.load.network import prepare
from subbyte.graph.weight_layout import canonical
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight
from subbyte.methods.product import encode as product
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar import encode as scalar
from subbyte.methods.scalar.form import ScalarOptions
from tests import tiny

Coded = tuple[onnx.ModelProto, dict[str, CodedWeight]]


def test_float_model(tmp_path: Path) -> None:
    path = tiny.save(tiny.classifier(), tmp_path / "a.onnx")
    result = subbyte.inspect(path)
    assert [*result.to_dict()] == [
        *("model", "file_bytes", "weight_count", "bits_per_weight", "layers", "uncoded", "parts"),
        *("operations", "planes"),
    ]
    assert result.file_bytes == path.stat().st_size
    assert [(row["name"], row["op"], row["shape"]) for row in result.layers] == [
        ("conv1", "Conv", [16, 3, 3, 3]),
        ("conv2", "Conv", [16, 16, 3, 3]),
        ("head", "Linear", [4, 16]),
    ]
    count = 16 * 27 + 16 * 144 + 64
    assert result.weight_count == count
    assert result.bits_per_weight == 32
    assert {row["method"] for row in result.layers} == {"float"}
    assert {row["activations"] for row in result.layers} == {"float"}
    assert result.parts["weights"] == 4 * count
    assert result.parts["biases"] == 4 * (16 + 16 + 4)
    assert result.parts["other"] == 0


def test_parts_add_up_and_graph_is_what_is_left_without_data(tmp_path: Path) -> None:
    model = tiny.classifier()
    path = tiny.save(model, tmp_path / "a.onnx")
    result = subbyte.inspect(path)
    assert sum(result.parts.values()) == result.file_bytes
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    # Protobuf spends a few bytes of length on every tensor.
    assert 0 <= result.parts["graph"] - model.ByteSize() < 40


def test_external_data_count(tmp_path: Path) -> None:
    inside = subbyte.inspect(tiny.save(tiny.classifier(), tmp_path / "a.onnx"))
    path = tmp_path / "b.onnx"
    onnx.save(
        tiny.classifier(), path, save_as_external_data=True, location="b.bin", size_threshold=0
    )
    outside = subbyte.inspect(path)
    size = path.stat().st_size + (tmp_path / "b.bin").stat().st_size
    assert outside.file_bytes == size == sum(outside.parts.values())
    assert outside.parts["weights"] == inside.parts["weights"]
    (tmp_path / "b.bin").unlink()
    with pytest.raises(ModelFileError, match=r"external data.*b\.bin"):
        subbyte.inspect(path)


def test_shared_weight_counts_once(tmp_path: Path) -> None:
    weight = np.ones((5, 5), np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "second"),
        helper.make_node("MatMul", ["y", "x"], ["z"], "no weight"),
    ]
    model = tiny.build(nodes, {"w": weight}, {"x": [5, 5]}, {"z": [5, 5]})
    result = subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))
    assert [row["name"] for row in result.layers] == ["first, second"]
    assert result.weight_count == 25


def test_weights_behind_other_nodes(tmp_path: Path) -> None:
    """A QDQ layer, one with a transposed weight, and one in a Constant node."""
    constants = {
        "q": np.ones((6, 5), np.int8),
        "s": np.ones(6, np.float32),
        "z": np.zeros(6, np.int8),
        "t": np.ones((7, 6), np.float32),
    }
    inner = numpy_helper.from_array(np.ones((7, 2), np.float32))
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("Gemm", ["x", "w"], ["a"], "qdq", transB=1),
        helper.make_node("Transpose", ["t"], ["u"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "u"], ["b"], "turned"),
        helper.make_node("Constant", [], ["k"], value=inner),
        helper.make_node("MatMul", ["b", "k"], ["y"]),
    ]
    model = tiny.build(nodes, constants, {"x": ["N", 5]}, {"y": ["N", 2]})
    result = subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))
    rows = [(row["name"], row["method"], row["shape"], row["bytes"]) for row in result.layers]
    assert rows == [
        ("qdq", "int8", [6, 5], 30 + 24 + 6),
        ("turned", "packed", [6, 7], 4 * 42),
        ("y", "float", [7, 2], 4 * 14),
    ]
    assert sum(result.parts.values()) == result.file_bytes


def test_model_without_layers(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = tiny.build(nodes, {}, {"x": ["N", 5]}, {"y": ["N", 5]})
    result = subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))
    assert (result.weight_count, result.bits_per_weight, result.layers) == (0, 0.0, [])


@pytest.fixture(scope="module")
def coded_once() -> Coded:
    return coded_classifier()


@pytest.fixture
def coded(coded_once: Coded) -> Coded:
    model = onnx.ModelProto()
    model.CopyFrom(coded_once[0])
    return model, coded_once[1]


def coded_classifier() -> Coded:
    """`tiny.classifier` with one product, one 8-bit and one 2-bit layer, and its codes."""
    network = prepare(tiny.classifier(), "tiny")
    encoders = (
        lambda w, h, s: scalar.encode(w, h, s, ScalarOptions(8), 0),
        lambda w, h, s: product.encode(w, h, s, ProductOptions(4, 16, 1), 0),
        lambda w, h, s: scalar.encode(w, h, s, ScalarOptions(2), 0),
    )
    coded = {}
    for layer, encode in zip(network.layers, encoders, strict=True):
        value = network.model.graph.initializers[layer.weight].const_value
        assert value is not None
        weight = torch.from_numpy(canonical(layer, value.numpy()).copy())
        moments = torch.eye(weight[0].numel())[None]
        coded[layer.weight] = encode(weight, moments, layer.shape)
    return write_network(network, coded), coded


def test_coded_layers_take_what_their_codes_claim(tmp_path: Path, coded: Coded) -> None:
    model, codes = coded
    path = tiny.save(model, tmp_path / "a.onnx")
    result = subbyte.inspect(path)
    rows = [(row["op"], row["method"], row["shape"]) for row in result.layers]
    assert rows == [
        ("Conv", "scalar", [16, 3, 3, 3]),
        ("Conv", "product", [16, 16, 3, 3]),
        ("Linear", "scalar", [4, 16]),
    ]
    assert [row["bytes"] for row in result.layers] == [each.nbytes for each in codes.values()]
    assert [row["bits_per_weight"] for row in result.layers] == [
        pytest.approx(each.bits_per_weight) for each in codes.values()
    ]
    assert result.parts["weights"] == sum(each.nbytes for each in codes.values())
    assert result.parts["biases"] == 4 * (16 + 16 + 4)
    assert sum(result.parts.values()) == result.file_bytes == path.stat().st_size
    assert {row["activations"] for row in result.layers} == {"float"}
    assert all(row["reason"] for row in result.layers)


def test_inlined_file_shows_the_same_layers(tmp_path: Path, coded: Coded) -> None:
    model, _ = coded
    before = subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))
    subbyte.inline(tmp_path / "a.onnx", tmp_path / "b.onnx")
    after = subbyte.inspect(tmp_path / "b.onnx")
    for one, two in zip(before.layers, after.layers, strict=True):
        for key in ("name", "op", "method", "shape", "activations", "reason"):
            assert one[key] == two[key]
        # Expanding adds small tables: columns, powers of two, gain unit, scale base.
        assert one["bytes"] <= two["bytes"] <= one["bytes"] + 112
    assert sum(after.parts.values()) == after.file_bytes


def test_layer_of_a_newer_version(tmp_path: Path, coded: Coded) -> None:
    model, _ = coded
    for node in [*model.graph.node, *model.functions]:
        kind = node.op_type if isinstance(node, onnx.NodeProto) else node.name
        if kind.startswith("Product") and not kind.endswith("Weight"):
            name = kind.replace("Product", "Wavelet")
            if isinstance(node, onnx.NodeProto):
                node.op_type = name
            else:
                node.name = name
    with pytest.raises(ModelFileError, match="does not know: got Wavelet"):
        subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))


def test_layer_without_its_weight(tmp_path: Path, coded: Coded) -> None:
    model, _ = coded
    layer = next(node for node in model.graph.node if node.op_type.startswith("Product"))
    layer.input[1] = "elsewhere"
    with pytest.raises(ModelFileError, match=r"without its packed weight \[conv2\]"):
        subbyte.inspect(tiny.save(model, tmp_path / "a.onnx"))


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = tiny.save(tiny.classifier(), tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"a\.onnx"):
        subbyte.inspect(path)
