"""Multiplications and additions before and after, by hand on small layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.graph.load.network import prepare
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight, WeightShape
from subbyte.methods.operations import Operations, dense
from subbyte.methods.ternary import cost, form
from tests import tiny
from tests.graph.coding import code_scalar


def test_counts_of_small_factors() -> None:
    left = np.array([[[1, 0], [0, 0], [-1, 1]]])
    right = np.array([[[1, 0, -1, 1], [0, 0, 0, 1]]])
    # 2 terms and 3 scales; 2 + 0 sums in Y, 0 + 0 + 1 in X, 3 biases.
    assert cost.factored(left, right) == Operations(5, 6)
    assert dense(WeightShape(3, 1, 4)) == Operations(12, 12)
    assert cost.planned(WeightShape(3, 1, 4), 2) == Operations(2, 14)
    assert cost.planned(WeightShape(3, 1, 4), 2, 0.5) == Operations(2, 7)
    assert cost.planned(WeightShape(6, 1, 4, groups=2), 2) == Operations(4, 28)
    assert Operations(2, 3).times(5) + Operations(1, 1) == Operations(11, 16)


def ones(weight: np.ndarray, shape: WeightShape, rank: int) -> CodedWeight:
    """Factors without zeros."""
    left = np.ones((shape.outputs, rank), np.int64)
    right = np.ones((shape.groups, rank, shape.taps * shape.inputs), np.int64)
    scale = np.full(shape.outputs, np.abs(weight).mean(), np.float32)
    return form.pack(shape, left, np.full((shape.groups, rank), 9), right, scale)


@pytest.mark.parametrize("ternary", [True, False])
def test_inspect_counts_a_file(tmp_path: Path, ternary: bool) -> None:
    network = prepare(tiny.classifier(), "tiny")
    coded = {}
    for layer in network.layers:
        weight = canonical(layer, np.asarray(known(layer.node.inputs[1]), np.float32))
        if ternary and layer.name == "conv2":
            coded[layer.weight] = ones(weight, layer.shape, 4)
        else:
            coded[layer.weight] = code_scalar(weight, layer.shape)
    path = tmp_path / "small.onnx"
    path.write_bytes(write_network(network, coded, {}, float_reason="test").SerializeToString())
    found = subbyte.inspect(path).operations
    if not ternary:
        assert found is None
        return
    (row,) = found["layers"]
    pixels = row["positions"]
    assert (row["name"], row["rank"]) == ("conv2", 4)
    assert pixels is not None
    assert row["dense_multiplications"] == row["dense_additions"] == 16 * 144 * pixels
    assert row["multiplications"] == (4 + 16) * pixels
    assert row["additions"] == (4 * 143 + 16 * 3 + 16) * pixels
    total = found["total"]
    before, after = total["dense_multiplications"], total["multiplications"]
    assert before - after == (16 * 144 - 20) * pixels
    assert before > row["dense_multiplications"]
