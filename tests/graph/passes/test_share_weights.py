"""A weight that is read in several forms has an initializer for each; equal ones have one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.write.model import write_network
from tests.graph.builder import Builder
from tests.graph.coding import code_network, coded_module, session


def tied(kind: str) -> tuple[Network, onnx.ModelProto]:
    """Networks of two readers of one weight."""
    b = Builder(channels=32)
    w = b.weight("w", 32, 32, 3, 3) if kind != "reshaped" else b.weight("w", 32, 32, 1, 1)
    x = b.op("Conv", "c", "x", w, pads=[1] * 4 if kind != "reshaped" else [0] * 4)
    if kind == "transposed":
        y = b.op("ConvTranspose", "y", x, w, pads=[1] * 4)
    elif kind == "alike":
        y = b.op("Conv", "y", x, w, pads=[1] * 4)
    elif kind == "groups":
        y = b.op("Conv", "y", b.op("Concat", "two", x, x, axis=1), w, pads=[1] * 4, group=2)
    elif kind == "added":
        b.constant("shape", [1, 32, -1, 1], np.int64)
        b.constant("axes", [2], np.int64)
        flat = b.op("Reshape", "flat", w, "shape")
        y = b.op("Add", "y", x, b.op("ReduceMean", "m", flat, "axes", keepdims=1))
    else:
        b.constant("matrix", [32, 32], np.int64)
        rows = b.op("Transpose", "rows", x, perm=[0, 2, 3, 1])
        y = b.op("MatMul", "y", rows, b.op("Reshape", "flat", w, "matrix"))
    model = b.model(**{y: 4})
    return prepare(model, "tied"), model


@pytest.mark.parametrize("kind", ["transposed", "groups", "alike", "reshaped", "added"])
def test_tied_weights_decode_right(kind: str) -> None:
    network, model = tied(kind)
    x = np.random.default_rng(3).standard_normal((2, 32, 8, 8)).astype(np.float32)
    coded = code_network(network)
    assert len(coded) == (1 if kind in ("alike", "added") else 2)
    wanted = session(model).run(None, {"x": x})[0]
    module = coded_module(network, coded)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
        exact = GraphModule(network)(torch.from_numpy(x)).numpy()
    written = session(write_network(network, coded)).run(None, {"x": x})[0]
    assert np.abs(exact - wanted).max() < 1e-4
    assert np.square(written - wanted).mean() < 1e-3 * wanted.var()
    assert np.abs(written - found).max() < 1e-4


def test_equal_weights_of_one_form_are_one() -> None:
    b = Builder(channels=32)
    same = np.random.default_rng(0).standard_normal((32, 32, 3, 3)) / 17
    x = b.op("Conv", "c", "x", b.constant("first", same), pads=[1] * 4)
    x = b.op("Conv", "d", x, b.constant("second", same), pads=[1] * 4)
    b.op("ConvTranspose", "y", x, b.constant("third", same), pads=[1] * 4)
    layers = b.network(y=4).layers
    assert [layer.weight for layer in layers] == ["first", "first", "third"]
