from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.errors import AlreadyCompressedError, CalibrationError, OptionError
from subbyte.methods import Binary
from subbyte.report.page.document import Report
from subbyte.report.page.rendering import render, tiles, trade_off
from subbyte.runtime.library import find_library
from tests import tiny
from tests.report.reported import Pair, make_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def document(pair: Pair) -> Report:
    return subbyte.make_report(
        pair.model, pair.reference, pair.samples, pair.labels, layer_samples=16, runs=2
    )


def write_samples(pair: Pair, folder: Path) -> Path:
    np.savez(folder / "samples.npz", input=pair.samples)
    return folder / "samples.npz"


def test_figures_are_those_of_the_other_commands(pair: Pair, document: Report) -> None:
    sizes = subbyte.inspect(pair.model)
    assert document.summary["file_bytes"] == sizes.file_bytes
    assert document.summary["compression"] == pytest.approx(
        pair.reference.stat().st_size / pair.model.stat().st_size
    )
    own, original = document.scores
    scores = subbyte.evaluate(pair.model, pair.samples, pair.labels, float_network=pair.reference)
    assert {key: own[key] for key in ("top1", "kl", "agreement")} == pytest.approx(
        {key: getattr(scores, key) for key in ("top1", "kl", "agreement")}
    )
    assert (original["label"], original["kl"]) == ("float", pytest.approx(0, abs=1e-6))
    assert document.latency[0]["label"] == "float"
    assert document.sensitivity["samples"] == 16
    assert document.proof["samples"] == 16
    assert document.proof["outputs"][0]["portable"]["kl"] < 2 * own["kl"]


def test_rows_of_layers(document: Report) -> None:
    rows = {row["name"]: row for row in document.layers}
    assert list(rows) == ["conv1", "conv2", "head"]
    assert rows["conv2"]["options"] == {"group": 4, "words": 16, "gain": 3}
    assert sum(row["harm_share"] for row in rows.values()) == pytest.approx(100)
    assert sum(row["weights_share"] for row in rows.values()) == pytest.approx(100)
    whole = document.summary
    assert sum(row["file_share"] for row in rows.values()) == pytest.approx(
        100 * whole["parts"]["weights"] / whole["file_bytes"]
    )
    assert sum(rows["conv2"]["levels"]["counts"]) == 16 * 9 * 16
    assert np.shape(rows["conv2"]["codebooks"]["words"]) == (4, 16, 4)
    assert rows["conv1"]["codebooks"] is None
    if find_library() is not None:
        assert rows["conv2"]["ms"] > 0
        assert {"conv1", "conv2", "head"} <= {node["name"] for node in document.nodes}


def test_the_report_is_frozen_and_its_document_is_in_order(document: Report) -> None:
    with pytest.raises(FrozenInstanceError):
        document.advice = []  # type: ignore[misc]
    assert [*json.loads(render(document, "json"))] == [
        *("subbyte", "model", "float_network", "summary", "layers", "scores", "sensitivity"),
        *("activations", "nodes", "proof", "points", "latency", "left_out", "advice", "system"),
    ]


def test_document_is_json(document: Report) -> None:
    found = json.loads(render(document, "json"))
    assert found.pop("subbyte") == subbyte.__version__
    assert found == json.loads(json.dumps(document.to_dict()))


def test_without_samples(pair: Pair) -> None:
    document = subbyte.make_report(pair.model, pair.reference, runs=0)
    for key in ("scores", "sensitivity", "activations", "nodes", "latency"):
        assert getattr(document, key) is None
    assert any("no data" in text for text in document.left_out)
    assert [what for what, *_ in tiles(document.to_dict())] == ["Size", "Bits per weight"]
    assert trade_off(document.to_dict()) == []
    for form in ("html", "md"):
        assert "conv2" in render(document, form)  # type: ignore[arg-type]


def test_points_of_an_exploration(pair: Pair, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [
        "explore", str(pair.reference), "-o", str(tmp_path / "points"), "--bits", "3,8",
        "--calib", str(write_samples(pair, tmp_path)),
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    document = subbyte.make_report(pair.model, pair.reference, points=tmp_path / "points", runs=0)
    rows = trade_off(document.to_dict())
    assert len(rows) == 2
    assert all(row["kind"] == "point" and row["bytes"] > 0 for row in rows)
    page = render(document, "html")
    assert all(row["label"] in page for row in rows)
    assert page.count('<svg class="chart"') >= 1
    point = document.points[0]
    (tmp_path / "points" / document.points[1]["file"]).unlink()
    document = subbyte.make_report(
        pair.model, pair.reference, pair.samples, pair.labels, points=tmp_path / "points", runs=0
    )
    path = tmp_path / "points" / point["file"]
    expected = subbyte.evaluate(path, pair.samples, pair.labels, float_network=pair.reference)
    again, untouched = document.points
    assert again["kl"] == pytest.approx(expected.kl)
    assert again["kl"] != pytest.approx(point["kl"])
    assert again["metric"] == pytest.approx(expected.top1)
    assert untouched["metric"] is None
    assert f"{untouched['name']} on these samples: no file" in " ".join(document.left_out)


def test_points_without_class_scores(pair: Pair, tmp_path: Path) -> None:
    points = [
        {"name": f"{bits} bits", "bits": bits, "bytes": 900 * bits, "kl": 0.2, "agreement": None}
        for bits in (1, 2)
    ]
    (tmp_path / "points.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    document = subbyte.make_report(pair.model, pair.reference, points=tmp_path, runs=0)
    assert "2 bits" in render(document, "html")
    assert "| 2 bits | 2.00 | 1.8 kB | 0.2000 |  |  |  |" in render(document, "md")


def test_binary_layers(pair: Pair, tmp_path: Path) -> None:
    reference = tiny.save(tiny.classifier(tiny.conv_weights(width=32)), tmp_path / "wide.onnx")
    small = tmp_path / "small.onnx"
    subbyte.compress(reference, small, pair.samples, method=Binary(order=2))
    document = subbyte.make_report(small, reference, pair.samples, runs=0)
    row = document.layers[1]
    assert (row["method"], row["options"]) == ("binary", {"order": 2, "scales": "column"})
    assert row["levels"]["values"] == [-1, 1]
    assert row["harm"] > 0
    # What the layer does to its input counts, and the file does the same.
    lost = document.sensitivity
    assert lost["weights"] == pytest.approx(lost["file"], rel=0.3)
    assert "order 2, scales column" in render(document, "html")


@pytest.mark.filterwarnings("ignore")  # onnxruntime's own
def test_stock_int8(pair: Pair) -> None:
    pytest.importorskip("sympy", reason="extra bench: sympy")
    document = subbyte.make_report(
        pair.model, pair.reference, pair.samples, runs=2, peers=("onnxruntime-int8",)
    )
    assert document.scores[2]["n"] == 24
    rows = {row["label"]: row for row in trade_off(document.to_dict())}
    assert 0 < rows["int8"]["kl"] < rows["this file"]["kl"]
    assert rows["int8"]["ms"] > 0
    assert "top1" not in document.scores[0]


def test_number_holds_for_samples_and_labels(pair: Pair) -> None:
    document = subbyte.make_report(
        pair.model, pair.reference, pair.samples, pair.labels, samples=10, runs=0
    )
    assert [row["n"] for row in document.scores] == [10, 10]
    assert document.sensitivity["samples"] == 10


def test_inlined_file(pair: Pair, tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    subbyte.inline(pair.model, plain)
    document = subbyte.make_report(plain, pair.reference, pair.samples, runs=0)
    assert document.sensitivity is None
    assert document.scores[0]["kl"] > 0
    assert "the file has no subbyte nodes" in " ".join(document.left_out)
    assert "conv2" in render(document, "html")


def test_network_without_scores(tmp_path: Path) -> None:
    nodes = [tiny.conv("conv1", "input", "a"), helper.make_node("Relu", ["a"], ["y"])]
    constants = {k: v for k, v in tiny.conv_weights().items() if k.startswith("conv1")}
    model = tiny.build(nodes, constants, {"input": ["N", 3, 6, 6]}, {"y": ["N", 16, 6, 6]})
    reference, small = tiny.save(model, tmp_path / "a.onnx"), tmp_path / "b.onnx"
    samples = np.random.default_rng(0).standard_normal((8, 3, 6, 6)).astype(np.float32)
    subbyte.compress(reference, small, samples, bits=8.0, method="scalar")
    document = subbyte.make_report(small, reference, samples, runs=0)
    assert document.scores is None
    assert document.sensitivity["measure"] == "error"
    assert "Output error" in [what for what, *_ in tiles(document.to_dict())]
    assert "relative error on 8 samples" in render(document, "html")


def test_what_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="labels without samples"):
        subbyte.make_report(pair.model, pair.reference, labels=pair.labels)
    for wrong in ({"layer_samples": 0}, {"runs": -1}, {"threads": 0}, {"peers": ("abacus",)}):
        with pytest.raises(OptionError, match=r"out of range|unknown peer"):
            subbyte.make_report(pair.model, pair.reference, **wrong)  # type: ignore[arg-type]
    with pytest.raises(AlreadyCompressedError):
        subbyte.make_report(pair.model, pair.model)
    with pytest.raises(CalibrationError):
        subbyte.make_report(pair.model, pair.reference, pair.samples[:, :2])
    other = tiny.classifier()
    other.graph.input[0].name = other.graph.node[0].input[0] = "pixels"
    path = tiny.save(other, tmp_path / "other.onnx")
    with pytest.raises(OptionError, match=r"other inputs than the float network.*expected pixels"):
        subbyte.make_report(pair.model, path)
