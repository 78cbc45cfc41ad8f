"""Weights beyond convolutions and linear layers, from the network to the file and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.compression.calibration.unpacked import counts_of, importance, rows_of
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.errors import BudgetError
from subbyte.graph.load.network import prepare
from subbyte.report import inspect
from subbyte.runtime.library import find_library

IDS = np.minimum(np.random.default_rng(1).geometric(0.05, (48, 6)), 99).astype(np.int64)


def network() -> onnx.ModelProto:
    """A table, recurrence, matrices of heads, a branch, a table of places that is added."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        array = rng.standard_normal(shape) / np.sqrt(shape[-2])
        return numpy_helper.from_array(array.astype(np.float32), name)

    value = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["rows", matrix], [name], f"{name}_product")],
            name,
            [],
            [value(name, TensorProto.FLOAT, None)],
        )
        for name, matrix in (("then", "first"), ("else", "second"))
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], "embed"),
        helper.make_node("Concat", ["embedded"] * 8, ["wide"], "wide", axis=1),
        helper.make_node("Add", ["wide", "places"], ["placed"], "place"),
        helper.make_node("Transpose", ["placed"], ["steps"], "steps", perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "W", "R"], ["states"], "lstm", hidden_size=24),
        helper.make_node("Transpose", ["states"], ["heads"], "turn", perm=[2, 1, 0, 3]),
        helper.make_node("MatMul", ["heads", "matrices"], ["products"], "products"),
        helper.make_node("ReduceMean", ["products", "axes"], ["rows"], "mean", keepdims=0),
        helper.make_node("ReduceMax", ["rows"], ["most"], "most", keepdims=0),
        helper.make_node("Greater", ["most", "least"], ["large"], "large"),
        helper.make_node("If", ["large"], ["y"], "branch", **branches),
    ]
    constants = [
        weight("table", 100, 24),
        weight("places", 1, 48, 24),
        weight("W", 1, 96, 24),
        weight("R", 1, 96, 24),
        weight("matrices", 2, 24, 32),
        weight("first", 32, 40),
        weight("second", 32, 40),
        numpy_helper.from_array(np.array([1, 2]), "axes"),
        numpy_helper.from_array(np.float32(0), "least"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("ids", TensorProto.INT64, ["N", 6])],
        [value("y", TensorProto.FLOAT, ["N", 40])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


CODED = ["embed", "lstm.W", "lstm.R", "products", "branch.then_product", "branch.else_product"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, and its file with everything at 8 bits."""
    found = tmp_path_factory.mktemp("unpacked")
    onnx.save(network(), found / "net.onnx")
    (found / "plan.toml").write_text("")
    compressed(found, "small.onnx", plan=found / "plan.toml")
    return found


def compressed(folder: Path, name: str, **options: Any) -> Path:
    subbyte.compress(folder / "net.onnx", folder / name, {"ids": IDS}, **options)
    return folder / name


def test_all_are_planned_and_places_stay_float() -> None:
    found = prepare(network(), "net")
    assert {entry.name for entry in planned_layers(found)} == set(CODED)
    assert [constant.name for constant in found.uncoded] == ["places"]


@pytest.mark.parametrize("engine", ["portable", "native"])
def test_the_file_is_right(folder: Path, engine: Any) -> None:
    if engine == "native" and find_library() is None:
        pytest.skip("no native library")
    wanted = subbyte.load(folder / "net.onnx", engine="portable").run(IDS)
    found = subbyte.load(folder / "small.onnx", engine=engine).run(IDS)
    assert isinstance(found, np.ndarray)
    assert isinstance(wanted, np.ndarray)
    assert np.square(found - wanted).mean() < 1e-3 * wanted.var()


def test_inspect_accounts_for_them_inlined_or_not(folder: Path) -> None:
    found = inspect(folder / "small.onnx")
    assert {row["name"] for row in found.layers} == set(CODED)
    assert {row["op"] for row in found.layers} == {"Gather", "LSTM", "MatMul"}
    assert [row["name"] for row in found.uncoded] == ["places"]
    assert found.weight_count == 2400 + 2 * 2304 + 1536 + 2 * 1280 + 1152
    subbyte.inline(folder / "small.onnx", folder / "inlined.onnx")
    inlined = inspect(folder / "inlined.onnx")
    shapes = {row["name"]: (row["op"], row["method"], row["shape"]) for row in found.layers}
    for row in inlined.layers:
        assert shapes[row["name"]] == (row["op"], row["method"], row["shape"])
    assert len(inlined.layers) == len(found.layers)


def test_a_trained_file_computes_what_the_file_does(folder: Path) -> None:
    from subbyte.train import load

    student = load(folder / "small.onnx").eval()
    with torch.no_grad():
        found = student(torch.from_numpy(IDS)).numpy()
    wanted = subbyte.load(folder / "small.onnx", engine="portable").run(IDS)
    assert np.allclose(found, wanted, atol=1e-4)
    assert len(student.weights) == len(CODED)
    again = student.export()
    assert len(again.graph.node) == len(onnx.load(folder / "small.onnx").graph.node)


def test_the_budget_counts_what_is_not_coded(folder: Path) -> None:
    found = inspect(compressed(folder, "budget.onnx", bits=7.9))
    assert found.bits_per_weight <= 7.9
    with pytest.raises(BudgetError, match=r"places, 4608 bytes of float \(read by Add\)"):
        compressed(folder, "less.onnx", bits=3)
    assert not (folder / "less.onnx").exists()


def quantized_tables() -> onnx.ModelProto:
    """A table of bytes that is dequantized in the graph, and bytes that are read as they are."""
    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["codes"], "embed"),
        helper.make_node("Cast", ["codes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "axes"], ["y"], keepdims=0),
        helper.make_node("Gather", ["kinds", "ids"], ["kind"]),
    ]
    constants = {
        "table": rng.integers(-127, 128, (400, 48)).astype(np.int8),
        "scale": np.float32(0.01),
        "axes": np.array([1]),
        "kinds": rng.integers(0, 256, 2000).astype(np.uint8),
    }
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    outputs = [value("y", TensorProto.FLOAT, ["N", 48]), value("kind", TensorProto.UINT8, None)]
    graph = helper.make_graph(
        nodes, "g", [value("ids", TensorProto.INT64, ["N", 6])], outputs, tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_tables_of_integers_are_coded_counted_and_named(tmp_path: Path) -> None:
    target = tmp_path / "small.onnx"
    subbyte.compress(quantized_tables(), target, {"ids": IDS}, bits=3.5)
    found = inspect(target)
    assert [row["name"] for row in found.layers] == ["embed"]
    reason = "read by Gather; tables of two axes are coded, where the rank of the indices is known"
    assert found.uncoded == [
        {"name": "kinds", "count": 2000, "bytes": 2000, "type": "UINT8", "reason": reason}
    ]
    assert found.weight_count == 400 * 48 + 2000
    assert found.bits_per_weight <= 3.5
    with pytest.raises(BudgetError) as caught:
        subbyte.compress(quantized_tables(), tmp_path / "less.onnx", {"ids": IDS}, bits=0.5)
    assert "kinds, 2000 bytes of uint8" in str(caught.value)
    assert str(caught.value).endswith("; give a larger budget, or a network without them")


def test_rows_that_are_read_often_count_more() -> None:
    counts = counts_of(torch.tensor([[0, 1], [-1, 1]]), 4)
    assert counts.tolist() == [1, 2, 0, 1]
    weights = importance(counts)
    assert float(weights.mean()) == pytest.approx(1)
    assert weights[1] > weights[0] > weights[2] > 0


def test_rows_that_matrices_meet() -> None:
    entry = next(e for e in prepare(network(), "net").unpacked if e.name == "products")
    value = torch.arange(3 * 2 * 5 * 24).reshape(3, 2, 5, 24).float()
    rows = rows_of(entry, value)
    assert rows is not None
    assert rows.shape == (15, 2, 24)
    assert torch.equal(rows[7, 1], value[1, 1, 2])
    assert rows_of(entry, value[:, :, :, :23]) is None
