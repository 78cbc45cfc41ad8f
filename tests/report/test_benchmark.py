from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import subbyte
from subbyte import cpu
from subbyte.errors import ModelFileError, OptionError
from subbyte.report.benchmark import Side, _closeness, _row
from tests import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(tiny.classifier(), tmp_path / "model.onnx")


def test_reports_every_model_and_the_machine(tmp_path: Path, model: Path) -> None:
    other = tiny.save(tiny.classifier(tiny.conv_weights(5)), tmp_path / "other.onnx")
    seen: list[tuple[int, int]] = []
    result = subbyte.bench(
        [model, other], runs=3, batch_size=2, progress=lambda stage, *state: seen.append(state[:2])
    )
    assert [row.model for row in result.models] == [str(model), str(other)]
    assert result.models[0].ratio == 1
    assert all(0 < row.min_ms <= row.median_ms for row in result.models)
    assert result.shapes == {"input": [2, 3, 6, 6]}
    assert (result.runs, result.threads) == (3, 1)
    assert result.system["cpu"]
    assert result.system["versions"]["numpy"] == np.__version__
    assert seen == [(1, 3), (2, 3), (3, 3)]
    figures = result.to_dict()
    document = "models missing runs threads shapes native_isa system"
    assert [*figures] == document.split()
    assert [*figures["models"][1]] == [*vars(result.models[1])]
    assert json.loads(json.dumps(figures)) == figures


def test_statistics_follow_their_formulas() -> None:
    first = np.array([1.0, 2.0, 4.0, 5.0]) / 1000
    own = np.array([2.0, 6.0, 4.0, 5.0]) / 1000
    row = _row(Side("a.onnx", "portable", lambda feeds: list), own, first)
    assert row["median_ms"] == pytest.approx(4.5)
    assert row["min_ms"] == pytest.approx(2)
    assert row["iqr_ms"] == pytest.approx(5.25 - 3.5)
    assert row["ratio"] == pytest.approx(1.5)


def test_free_dimensions_need_a_shape(tmp_path: Path) -> None:
    shape = ["N", "T"]
    model = tiny.build(
        [helper.make_node("Cast", ["ids"], ["y"], to=TensorProto.FLOAT)],
        {},
        {"ids": shape},
        {"y": shape},
        TensorProto.INT64,
    )
    path = tiny.save(model, tmp_path / "free.onnx")
    with pytest.raises(OptionError, match=r"free dimensions.*`shapes=\{'ids': \(1, \.\.\.\)\}`"):
        subbyte.bench([path], runs=1)
    assert subbyte.bench([path], runs=1, shapes={"ids": (2, 9)}).shapes == {"ids": [2, 9]}
    with pytest.raises(OptionError, match="expected ids, got tokens"):
        subbyte.bench([path], runs=1, shapes={"tokens": (2, 9)})


@pytest.mark.parametrize("name", ["threads", "runs", "batch_size"])
def test_options_out_of_range(model: Path, name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} out of range"):
        subbyte.bench([model], **{name: 0})
    with pytest.raises(OptionError, match="no models"):
        subbyte.bench([])


def test_outputs_are_checked_before_timing(tmp_path: Path, model: Path) -> None:
    values = {"input": ["N", 3, 6, 6]}
    same_input = tiny.build(
        [helper.make_node("Neg", ["input"], ["y"])], {}, values, {"y": values["input"]}
    )
    with pytest.raises(ModelFileError, match="differ in their outputs"):
        subbyte.bench([model, tiny.save(same_input, tmp_path / "neg.onnx")], runs=1)
    log = tiny.build(
        [helper.make_node("Log", ["input"], ["y"])], {}, values, {"y": values["input"]}
    )
    with pytest.raises(ModelFileError, match="NaN or Inf"):
        subbyte.bench([tiny.save(log, tmp_path / "log.onnx")], runs=1)


def test_cpu_name_and_flags_come_from_cpuinfo(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni\nmodel name\t: x\n")
    assert cpu.cpu_name(info) == "Some CPU"
    assert cpu.isa_flags(info) == ["avx2", "avx512_vnni"]
    assert cpu.cpu_name(tmp_path / "none")
    assert cpu.isa_flags(tmp_path / "none") == []


def test_closeness_follows_its_formulas() -> None:
    first = [np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]])]
    own = [np.array([[6.0, 8.0]]), np.array([[0.0, 1.0]])]
    found = _closeness(own, first)
    assert found["cosine"] == pytest.approx(50 / np.sqrt(26 * 101))
    assert found["top1"] == 50
    assert _closeness(first, first) == {"cosine": pytest.approx(1), "top1": 100}
