"""Bits of composite planes, as `inspect` counts them in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.graph.load.network import prepare
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical
from subbyte.graph.write.model import write_network
from subbyte.methods.composite.accounting import account
from tests import tiny
from tests.graph.coding import code_composite, code_scalar


@pytest.mark.parametrize("factored", [False, True])
def test_inspect_counts_a_file(tmp_path: Path, factored: bool) -> None:
    network = prepare(tiny.classifier(), "tiny")
    coded = {}
    for layer in network.layers:
        weight = canonical(layer, np.asarray(known(layer.node.inputs[1]), np.float32))
        if layer.name == "conv1":
            coded[layer.weight] = code_scalar(weight, layer.shape)
        else:
            coded[layer.weight] = code_composite(weight, layer.shape, factored)
    path = tmp_path / "small.onnx"
    path.write_bytes(write_network(network, coded, {}, float_reason="test").SerializeToString())
    found = subbyte.inspect(path).planes
    weights = {layer.name: coded[layer.weight] for layer in network.layers}
    assert {row["name"] for row in found["layers"]} == set(weights) - {"conv1"}
    for row in found["layers"]:
        weight = weights[row["name"]]
        counts = account(weight)
        assert row["stored_bits"] == pytest.approx(weight.bits_per_weight)
        assert (row["paper_bits"], row["entropy_bits"]) == (counts.paper_bits, counts.entropy_bits)
        assert row["planes"] == 4
        assert (row["factored"] > 0) == factored
    least, most = (f(row["paper_bits"] for row in found["layers"]) for f in (min, max))
    assert least <= found["total"]["paper_bits"] <= most


def test_other_methods_have_no_planes(tmp_path: Path) -> None:
    network = prepare(tiny.classifier(), "tiny")
    coded = {
        layer.weight: code_scalar(
            canonical(layer, np.asarray(known(layer.node.inputs[1]), np.float32)), layer.shape
        )
        for layer in network.layers
    }
    path = tmp_path / "small.onnx"
    path.write_bytes(write_network(network, coded, {}, float_reason="test").SerializeToString())
    assert subbyte.inspect(path).planes is None
