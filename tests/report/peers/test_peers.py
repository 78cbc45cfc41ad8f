"""Each peer follows the float network; what is missing is named."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import subbyte
from subbyte.errors import MissingDependencyError, OptionError, PeerError
from subbyte.report.peers import PEERS, Source, make_peer, mobile, stock
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
    assert (apart > 1e-4) == name.endswith("int8")


def test_missing_package_names_the_extra(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package openvino: .*bench"):
        make_peer("openvino-fp32", source)


def test_bench_names_what_it_leaves_out(source: Source) -> None:
    result = subbyte.bench([source.path], runs=1, peers=["ncnn-int8", "litert-int8"])
    assert [row.engine for row in result.models] == ["portable"]
    assert [row.peer for row in result.missing] == ["ncnn-int8", "litert-int8"]
    assert all(len(row.reason) > 20 for row in result.missing)
    with pytest.raises(PeerError, match="ncnn2int8"):
        make_peer("ncnn-int8", source)


@pytest.mark.filterwarnings("ignore")
def test_bench_times_a_peer_and_says_how_close_it_is(source: Source) -> None:
    result = subbyte.bench([source.path], runs=2, peers=["onnxruntime-int8"])
    row = result.models[1]
    assert row.engine == "onnxruntime-int8"
    assert 0.98 < row.cosine < 1
    assert row.median_ms > 0


def test_unknown_peer(source: Source) -> None:
    with pytest.raises(OptionError, match=r"unknown peer.*openvino-int8.*got mnn"):
        subbyte.bench([source.path], peers=["mnn"])
    assert "onnxruntime-int8" in PEERS


def free_sizes(path: Path, axis: int) -> Path:
    """Halves x of free sizes and doubles it again, with sizes joined along ``axis`` of one."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["half"], "conv", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Shape", ["x"], ["size"], start=2),
        helper.make_node("Shape", ["half"], ["maps"], end=2),
        helper.make_node("Concat", ["maps", "size"], ["sizes"], axis=axis),
        helper.make_node("Resize", ["half", "", "", "sizes"], ["y"]),
    ]
    weight = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    maps: tuple[int | str, ...] = ("N", 4, "H", "W")
    model = tiny.build(nodes, {"w": weight}, {"x": ("N", 3, "H", "W")}, {"y": maps})
    return tiny.save(model, path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("axis", "batch"), [(0, "N"), (-1, 1)])
def test_onnxruntime_quantizes_free_sizes(tmp_path: Path, axis: int, batch: int | str) -> None:
    """Its inference of symbols gives up on the second network, whatever is fixed: it is done
    without, and the batch is fixed."""
    pytest.importorskip("sympy", reason="extra bench: sympy")
    path = free_sizes(tmp_path / "free.onnx", axis)
    rng = np.random.default_rng(1)
    samples = [{"x": rng.standard_normal((1, 3, 8, 6), np.float32)} for _ in range(2)]
    made = onnx.load(stock.quantized(Source(path, samples, 1, tmp_path)))
    dims = made.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == [batch, 3, 8, 6]
    assert "QuantizeLinear" in {node.op_type for node in made.graph.node}
    result = subbyte.bench([path], runs=1, shapes={"x": (1, 3, 8, 6)}, peers=["onnxruntime-int8"])
    assert result.missing == ()
    assert result.models[1].cosine > 0.99


@pytest.mark.filterwarnings("ignore")
def test_networks_of_older_operator_sets_are_lifted(tmp_path: Path) -> None:
    """Their DequantizeLinear has no axis, which weights per channel need."""
    model = tiny.classifier()
    model.opset_import[0].version = 11
    path = tiny.save(model, tmp_path / "old.onnx")
    rng = np.random.default_rng(0)
    samples = [{"input": rng.standard_normal((1, 3, 6, 6), np.float32)} for _ in range(4)]
    made = onnx.load(stock.quantized(Source(path, samples, 1, tmp_path)))
    assert made.opset_import[0].version >= stock.LEAST_OPSET
    axes = [a for node in made.graph.node for a in node.attribute if a.name == "axis"]
    assert axes


@pytest.mark.filterwarnings("ignore")
def test_scales_that_onnxruntime_cannot_adjust_are_left(tmp_path: Path) -> None:
    """Of one output channel with a bias that is large beside its weights."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")]
    constants = {
        "w": rng.standard_normal((1, 3, 3, 3)).astype(np.float32) * 1e-6,
        "b": np.full(1, 100, np.float32),
    }
    model = tiny.build(nodes, constants, {"x": ("N", 3, 8, 8)}, {"y": ("N", 1, 6, 6)})
    path = tiny.save(model, tmp_path / "net.onnx")
    samples = [{"x": rng.standard_normal((1, 3, 8, 8), np.float32)} for _ in range(2)]
    assert stock.quantized(Source(path, samples, 1, tmp_path)).exists()


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_which_nothing_is_quantized_is_named(tmp_path: Path) -> None:
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], [name], name)],
            name,
            [],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4])],
        )
        for name in ("then", "else")
    }
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "zero"], ["large"]),
        helper.make_node("If", ["large"], ["y"], "choice", **branches),
    ]
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    constants = {"w": weight, "zero": np.float32(0)}
    model = tiny.build(nodes, constants, {"x": ("N", 8)}, {"y": ("N", 4)})
    path = tiny.save(model, tmp_path / "net.onnx")
    samples = [{"x": np.ones((1, 8), np.float32)}] * 2
    with pytest.raises(PeerError, match="quantizes nothing of the network"):
        stock.quantized(Source(path, samples, 1, tmp_path))


def fake_openvino(
    monkeypatch: pytest.MonkeyPatch,
    infer: Callable[[], list[Any]],
    read: Callable[[str], Any] = lambda path: types.SimpleNamespace(reshape=lambda shapes: None),
) -> None:
    """A runtime that computes ``infer()``."""

    class Request:
        output_tensors: list[Any] = []  # noqa: RUF012

        def set_tensor(self, name: str, tensor: object) -> None:
            return

        def infer(self) -> None:
            self.output_tensors = [types.SimpleNamespace(data=array) for array in infer()]

    class Core:
        def read_model(self, path: str) -> Any:
            return read(path)

        def compile_model(self, *arguments: object) -> Any:
            return types.SimpleNamespace(create_infer_request=Request)

    fake = types.ModuleType("openvino")
    fake.Core, fake.Tensor = Core, lambda array: array  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openvino", fake)


def broken() -> list[Any]:
    raise TypeError("no such\nlayout")


def unreadable(path: str) -> Any:
    raise ImportError("libtbb.so: cannot open shared object file")


SCORES = np.zeros((1, 4), np.float32)
FAILURES: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "running": (
        broken,
        r"openvino-fp32 cannot run the network \[.*net.onnx\]: .*TypeError: no such layout",
    ),
    "NaN": (lambda: [SCORES * np.nan], r"outputs are NaN or Inf \[.*openvino-fp32\]"),
    "number": (lambda: [SCORES, SCORES], r"models differ in their outputs \[.*openvino-fp32\]"),
    "shape": (lambda: [SCORES[:, :3]], r"expected \[\(1, 4\)\], got \[\(1, 3\)\]"),
    "none": (list, r"expected \[\(1, 4\)\], got \[\]"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", FAILURES)
def test_a_peer_that_fails_is_named_and_the_others_are_timed(
    what: str, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sympy", reason="extra bench: sympy")
    infer, said = FAILURES[what]
    fake_openvino(monkeypatch, infer)
    peers = ["openvino-fp32", "onnxruntime-int8"]
    result = subbyte.bench([source.path], runs=1, peers=peers)
    assert [row.engine for row in result.models] == ["portable", "onnxruntime-int8"]
    (missing,) = result.missing
    assert missing.peer == "openvino-fp32"
    assert re.search(said, missing.reason)


def test_a_peer_that_cannot_be_made_is_named(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openvino(monkeypatch, list, unreadable)
    with pytest.raises(PeerError, match=r"cannot run the network.*ImportError: libtbb"):
        make_peer("openvino-fp32", source)


def test_what_a_converter_says_last_is_shown(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = tmp_path / "pnnx"
    converter.write_text("#!/bin/sh\necho pass_level0\necho unknown op Wobble >&2\nexit 3\n")
    converter.chmod(0o755)
    fake = types.ModuleType("pnnx")
    fake.EXEC_PATH = str(converter)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pnnx", fake)
    with pytest.raises(PeerError, match=r"pnnx cannot.*status 3, .*unknown op Wobble$"):
        mobile._convert(source)


@pytest.mark.filterwarnings("ignore")  # onnxruntime's own
def test_nothing_is_left_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # onnxruntime's shape inference does not know this operator of its own.
    nodes = [
        helper.make_node("CDist", ["x", "w"], ["d"], domain="com.microsoft"),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    weight = np.eye(4, dtype=np.float32)
    shape = ["N", 4]
    model = tiny.build(nodes, {"w": weight}, {"x": shape}, {"y": shape}, 1, "com.microsoft")
    for name in ("here", "between"):
        (tmp_path / name).mkdir()
    tiny.save(model, tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path / "here")
    samples = [{"x": np.ones((2, 4), np.float32)}]
    source = Source(Path("../net.onnx"), samples, 1, Path("../between"))
    assert stock.quantized(source).exists()
    assert (tmp_path / "between" / "sym_shape_infer_temp.onnx").exists()
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("os.abort()", "ended by signal 6"),
        ("raise ValueError('no layer Wobble')", "ValueError: no layer Wobble$"),
    ],
)
def test_a_runtime_that_ends_its_process_ends_not_ours(
    ends: str, said: str, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ncnn does on layers that it lacks."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "ncnn.py").write_text(f"import os\ndef Net():\n    {ends}\n")
    (folder / "pnnx.py").write_text("EXEC_PATH = 'true'\n")
    for name in ("ncnn", "pnnx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with pytest.raises(PeerError, match=rf"ncnn cannot run the network \[.*{said}"):
        make_peer("ncnn-fp32", source)
    for name in ("ncnn", "pnnx"):
        monkeypatch.delitem(sys.modules, name, raising=False)
