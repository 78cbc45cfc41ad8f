"""Sizes that onnx infers otherwise than runtimes compute them: the file is written all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.compression import CompressOptions, compress
from tests.graph.one_node import run_ort

SIZES = (1, 2, 4, 4)


def _pooled(batch: int | str) -> onnx.ModelProto:
    """A pool whose last window would start in the padding, behind a convolution."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4, strides=[1, 2]),
        helper.make_node(
            "AveragePool", ["c"], ["p"], "pool", ceil_mode=1, kernel_shape=[1, 2], strides=[2, 2]
        ),
        helper.make_node("Ceil", ["p"], ["y"], "ceil"),
    ]
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *SIZES[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_pool_with_ceil_mode_is_compressed(batch: int | str, tmp_path: Path) -> None:
    model = _pooled(batch)
    onnx.save(model, tmp_path / "net.onnx")
    samples = np.random.default_rng(1).standard_normal((16, *SIZES[1:]), np.float32)
    options = CompressOptions(method="scalar", size=1 << 20)
    compress(tmp_path / "net.onnx", tmp_path / "small.onnx", samples, options)
    (expected,) = run_ort(model, [samples[:1]])
    for engine in ("portable", "native"):
        got = subbyte.load(tmp_path / "small.onnx", engine=engine).run(samples[:1])
        assert np.asarray(got).shape == expected.shape
