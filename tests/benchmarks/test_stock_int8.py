"""The comparison with onnxruntime's own int8 model runs, and compares like with like."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from benchmarks import stock_int8
from subbyte.graph.load.network import prepare
from tests.graph.builder import Builder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    b = Builder()
    a = b.op("Relu", "r", b.conv("a", "x", 8, 16))
    y = b.op("Relu", "q", b.op("Add", "s", b.conv("b", a, 16, 16), a))
    path = tmp_path / "small.onnx"
    onnx.save(b.model(**{b.head(y, 16): 2}), path)
    return path


# onnxruntime's quantizer calls deprecated functions of onnx.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_both_sides_run_the_same_layers_in_integers(source: Path, tmp_path: Path) -> None:
    row = stock_int8.compare("small", source, tmp_path, runs=3)
    ours, stock = (row["sides"][side]["operators"] for side in ("subbyte", "int8"))
    for operator in ("QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool"):
        assert ours[operator] == stock[operator]
    assert "Conv" not in {*ours, *stock}
    assert row["sides"]["subbyte"]["median_us"] > 0
    json.dumps(row)


def test_resnet18_has_its_shape() -> None:
    network = prepare(stock_int8.resnet18(), "resnet18")
    assert sum(layer.shape.count for layer in network.layers) == 11_678_912
