"""Files whose layers have functions of one value behind them: every reader sees the same layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import subbyte
from subbyte.graph.write.model import write_network
from subbyte.report import inspect
from subbyte.report.coded import coded_layers
from subbyte.report.page.saturation import carried_tensors
from subbyte.report.stored import read_stored
from subbyte.train import load
from tests import tiny
from tests.graph.builder import Builder
from tests.graph.coding import session
from tests.graph.unary import FUNCTIONS
from tests.graph.written import Case, built

METHODS = ("scalar", "gain")


def network(method: str) -> Case:
    b, y = Builder(), "x"
    for name in ("a", "b"):
        layer = b.conv(name, y, 8, 8)
        y = b.op("Mul", f"{name}.y", layer, b.op("Sigmoid", f"{name}.s", layer))
    y = FUNCTIONS["hard swish"](b, b.conv("third", y, 8, 8))
    return built(b, method, **{b.head(b.conv("last", y, 8, 8), 8): 2})


def files(case: Case, folder: Path) -> tuple[Path, Path]:
    """With functions behind layers, and with nodes of their own for them."""
    plan = replace(case.plan, fused={})
    apart = write_network(case.network, case.coded, None, plan, case.params)
    assert len(apart.graph.node) == len(case.model.graph.node) + 3
    return tiny.save(case.model, folder / "one.onnx"), tiny.save(apart, folder / "two.onnx")


@pytest.mark.parametrize("inlined", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_inspect_finds_the_same_layers(tmp_path: Path, method: str, inlined: bool) -> None:
    paths = files(network(method), tmp_path)
    if inlined:
        for path in paths:
            subbyte.inline(path, path.with_suffix(".plain.onnx"))
        paths = (paths[0].with_suffix(".plain.onnx"), paths[1].with_suffix(".plain.onnx"))
    one, two = (inspect(path) for path in paths)
    assert [layer["name"] for layer in one.layers] == ["a", "b", "third", "last", "scores"]
    assert one.layers == two.layers


@pytest.mark.parametrize("method", METHODS)
def test_the_same_tensors_are_carried(tmp_path: Path, method: str) -> None:
    case = network(method)
    found = []
    for path in files(case, tmp_path):
        model = read_stored(path)
        carried = carried_tensors(model, path, case.network, coded_layers(model, path))
        found.append({tensor.value: tensor for tensor in carried})
    assert found[0] == found[1]
    assert {"a", "a.y", "b", "b.y"} <= found[0].keys()


@pytest.mark.parametrize("method", METHODS)
def test_a_student_computes_what_the_file_does(tmp_path: Path, method: str) -> None:
    case = network(method)
    path, _ = files(case, tmp_path)
    student = load(path)
    with torch.no_grad():
        got = student(torch.from_numpy(case.inputs["x"])).numpy()
    (expected,) = session(case.model).run(None, case.inputs)
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()
    student.save(tmp_path / "again.onnx")
    (again,) = session(read_stored(tmp_path / "again.onnx").proto).run(None, case.inputs)
    np.testing.assert_allclose(again, expected, atol=1e-3 * np.abs(expected).max())
