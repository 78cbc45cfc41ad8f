"""Nodes that ONNX Runtime runs in operator sets in which onnx does not have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.compression import CompressOptions, compress
from subbyte.errors import SubbyteError
from tests.graph.one_node import IR_VERSIONS, compare, run_module, run_ort

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 6), np.float32)


def _model(
    opset: int, node: onnx.NodeProto, constants: dict[str, Any], *more: onnx.NodeProto
) -> onnx.ModelProto:
    """x [N, 4, 6] through ``node`` to h, then times a weight to y."""
    weight = RNG.standard_normal((6, 5), np.float32)
    held = [numpy_helper.from_array(np.float32(a), name) for name, a in constants.items()]
    held.append(numpy_helper.from_array(weight, "w"))
    graph = helper.make_graph(
        [*more, node, helper.make_node("MatMul", ["h", "w"], ["y"], "linear")],
        "early",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 5])],
        held,
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSIONS[opset])


def _layer_norm(opset: int) -> onnx.ModelProto:
    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["h"], axis=-1, epsilon=1e-3)
    return _model(opset, node, {"s": RNG.uniform(0.5, 2, 6), "b": RNG.standard_normal(6)})


def _group_norm(opset: int) -> onnx.ModelProto:
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["h"], num_groups=2)
    return _model(opset, node, {"s": [0.5, 3], "b": [-1, 2]})


def _numbers(opset: int) -> onnx.ModelProto:
    number = helper.make_node("Constant", [], ["n"], value_floats=[0.5, 2, 1, -1, 3, 4])
    return _model(opset, helper.make_node("Mul", ["x", "n"], ["h"]), {}, number)


def _mean_variance(opset: int) -> onnx.ModelProto:
    """On x [N, 4, 6, 1], as its axes are those of images."""
    axes = helper.make_node("Constant", [], ["last"], value=numpy_helper.from_array(np.array([3])))
    nodes = [
        axes,
        helper.make_node("Unsqueeze", ["x", "last"], ["image"]),
        helper.make_node("MeanVarianceNormalization", ["image"], ["normal"]),
    ]
    return _model(opset, helper.make_node("Squeeze", ["normal", "last"], ["h"]), {}, *nodes)


MODELS = [
    *((_layer_norm, opset) for opset in (11, 13, 16)),
    *((_group_norm, opset) for opset in (18, 20)),
    (_numbers, 11),
    (_mean_variance, 13),
    (_mean_variance, 20),
]


@pytest.mark.parametrize(("make", "opset"), MODELS)
def test_computes_what_onnx_runtime_computes(make: Any, opset: int) -> None:
    model = make(opset)
    before = model.SerializeToString()
    compare(run_module(model, [X]), run_ort(model, [X]))
    assert model.SerializeToString() == before


@pytest.mark.parametrize(("make", "opset"), MODELS[1::2])
def test_is_compressed(make: Any, opset: int, tmp_path: Path) -> None:
    model = make(opset)
    source, target = tmp_path / "net.onnx", tmp_path / "small.onnx"
    onnx.save(model, source)
    samples = RNG.standard_normal((64, 4, 6), np.float32)
    compress(source, target, samples, CompressOptions(method="scalar", size=1 << 20))
    (expected,) = run_ort(model, [X])
    for engine in ("portable", "native"):
        got = np.asarray(subbyte.load(target, engine=engine).run(X))
        assert np.mean((got - expected) ** 2) < 5e-3 * expected.var()


def test_what_came_later_than_the_lifted_set_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("RMSNormalization", ["x", "s"], ["h"])
    onnx.save(_model(17, node, {"s": np.ones(6)}), tmp_path / "net.onnx")
    with pytest.raises(SubbyteError, match="RMSNormalization"):
        compress(tmp_path / "net.onnx", tmp_path / "o.onnx", X)
