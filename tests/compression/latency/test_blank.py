"""Blank files: as large as the real ones, before anything is coded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.blank import blank_model, overhead
from subbyte.compression.planning.plan_file import planned_layers, read_plan
from subbyte.errors import BudgetError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import normal

MODEL = tiny.classifier(tiny.conv_weights(width=32))
IMAGES = normal(0, 24, 3, 6, 6)
PLAN = """
[layers.conv1]
method = "scalar"
bits = 4
[layers.conv2]
method = "{method}"
{options}
"""
FORMS = {
    "product": "group = 4\ngain = 2",
    "scalar": "bits = 2",
    "ternary": "rank = 20",
    "composite": "planes = 3",
}


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("wishes", [{}, {"activations": "float"}, {"inline": True}])
def test_what_is_not_weights_takes_as_much(
    method: str, wishes: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PLAN.format(method=method, options=FORMS[method]))
    options = CompressOptions(plan=tmp_path / "p.toml", **wishes)  # type: ignore[arg-type]
    subbyte.compress(MODEL, tmp_path / "small.onnx", IMAGES, options)
    network = prepare(MODEL, "net")
    plan = read_plan(tmp_path / "p.toml", planned_layers(network))
    expected = overhead(network, plan, options)
    subbyte.compress(MODEL, tmp_path / "functions.onnx", IMAGES, replace(options, inline=False))
    weights = sum(row["bytes"] for row in inspect(tmp_path / "functions.onnx").layers)
    found = (tmp_path / "small.onnx").stat().st_size - weights
    assert 0.95 * expected < found < 1.02 * expected


@pytest.mark.parametrize("size", [10_000, 12_500])
@pytest.mark.parametrize("wishes", [{}, {"inline": True}, {"method": ("product", "ternary")}])
def test_a_file_keeps_to_its_size(size: int, wishes: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    subbyte.compress(MODEL, path, IMAGES, size=size, **wishes)
    assert 0.85 * size < path.stat().st_size <= size


def test_a_size_out_of_reach_names_one_that_works(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    with pytest.raises(BudgetError, match=r"`size` out of reach.*got 5000") as error:
        subbyte.compress(MODEL, path, IMAGES, size=5000)
    named = int(str(error.value).partition("at least ")[2].partition(" bytes")[0])
    subbyte.compress(MODEL, path, IMAGES, size=named + 1)
    assert path.stat().st_size <= named + 1


def test_a_blank_file_runs(tmp_path: Path) -> None:
    network = prepare(MODEL, "net")
    plan = {layer.weight: EIGHT_BITS for layer in network.layers}
    path = tmp_path / "blank.onnx"
    path.write_bytes(blank_model(network, plan, CompressOptions()).SerializeToString())
    found = np.asarray(subbyte.load(path, engine="portable").run(IMAGES))
    assert found.shape == (24, tiny.CLASSES)
