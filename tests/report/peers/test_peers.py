"""Each peer follows the float network; what is missing is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.errors import MissingDependencyError, OptionError, PeerError
from subbyte.report.peers import PEERS, Source, make_peer
from tests import tiny

# The package a peer needs beyond onnxruntime.
PACKAGES = {"openvino-fp32": "openvino", "openvino-int8": "nncf", "ncnn-fp32": "ncnn"}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    samples = [{"input": rng.standard_normal((1, 3, 6, 6), np.float32)} for _ in range(8)]
    return Source(path, samples, 1, tmp_path)


@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize("name", ["onnxruntime-int8", *PACKAGES])
def test_follows_the_float_network(name: str, source: Source) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"extra bench: {PACKAGES[name]}")
    bind = make_peer(name, source)
    model = subbyte.load(source.path, engine="portable")
    got = np.stack([bind(feeds)()[0] for feeds in source.samples])
    expected = np.stack([np.asarray(model.run(feeds)) for feeds in source.samples])
    assert got.shape == expected.shape
    apart = np.abs(got - expected).max() / np.abs(expected).max()
    assert apart < (1e-4 if name.endswith("fp32") else 0.1)
    assert (apart > 1e-6) == name.endswith("int8")


def test_missing_package_names_the_extra(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package openvino: .*bench"):
        make_peer("openvino-fp32", source)


def test_bench_names_what_it_leaves_out(source: Source) -> None:
    result = subbyte.bench([source.path], runs=1, peers=["ncnn-int8", "litert-int8"])
    assert [row["engine"] for row in result["models"]] == ["portable"]
    assert [row["peer"] for row in result["missing"]] == ["ncnn-int8", "litert-int8"]
    assert all(len(row["reason"]) > 20 for row in result["missing"])
    with pytest.raises(PeerError, match="ncnn2int8"):
        make_peer("ncnn-int8", source)


@pytest.mark.filterwarnings("ignore")
def test_bench_times_a_peer_and_says_how_close_it_is(source: Source) -> None:
    result = subbyte.bench([source.path], runs=2, peers=["onnxruntime-int8"])
    row = result["models"][1]
    assert row["engine"] == "onnxruntime-int8"
    assert 0.98 < row["cosine"] < 1
    assert row["median_ms"] > 0


def test_unknown_peer(source: Source) -> None:
    with pytest.raises(OptionError, match=r"unknown peer.*openvino-int8.*got mnn"):
        subbyte.bench([source.path], peers=["mnn"])
    assert "onnxruntime-int8" in PEERS
