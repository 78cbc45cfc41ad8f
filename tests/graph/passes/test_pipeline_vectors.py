"""Products of vectors, as networks without a batch have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.runtime.ort import open_session, ort


def product(left: bool) -> onnx.ModelProto:
    """y [10] = relu(x [32] W) V, or V relu(W x)."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(32, 32)) / 6, "v": rng.normal(size=(10, 32)) / 6}
    arrays = arrays if left else {name: array.T for name, array in arrays.items()}
    ends = [["w", "x"], ["v", "r"]] if left else [["x", "w"], ["r", "v"]]
    nodes = [
        helper.make_node("MatMul", ends[0], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ends[1], ["y"], "second"),
    ]
    info = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [s]) for n, s in (("x", 32), ("y", 10))
    ]
    constants = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("left", [True, False])
def test_a_vector_is_a_row(left: bool) -> None:
    model = product(left)
    network = prepare(model, "net")
    assert [layer.shape.outputs for layer in network.layers] == [32, 10]
    x = np.random.default_rng(1).normal(size=32).astype(np.float32)
    session = open_session(model.SerializeToString(), ort.SessionOptions())
    (wanted,) = session.run(None, {"x": x})
    got = GraphModule(network)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_network_without_a_batch_is_compressed(tmp_path: Path) -> None:
    samples = np.random.default_rng(2).normal(size=(24, 32)).astype(np.float32)
    model = product(left=False)
    done = subbyte.compress(model, tmp_path / "small.onnx", samples, method="scalar", bits=8)
    small = subbyte.load(done.path)
    got = np.stack([np.asarray(small.run(sample)) for sample in samples])
    session = open_session(model.SerializeToString(), ort.SessionOptions())
    wanted = np.stack([session.run(None, {"x": sample})[0] for sample in samples])
    assert np.square(got - wanted).mean() < 1e-3 * wanted.var()
