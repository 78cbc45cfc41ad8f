"""What is caught before a file takes its name, and what is measured on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import subbyte
from subbyte.compression import pipeline
from subbyte.compression.proof.float_outputs import FloatOutputs
from subbyte.compression.proof.prove import batches_of, prove
from subbyte.compression.proof.record import Divergence, Proof
from subbyte.errors import OutputError, ProofError
from subbyte.graph.load.network import prepare
from subbyte.progress import silent
from subbyte.runtime import Engine
from tests import tiny
from tests.compression.nets import classifier, normal, samples_for, smooth_images

IMAGES = smooth_images(40, size=tiny.SIZE)
MODEL = classifier(IMAGES)
X = normal(1, 12, 8)

Nodes = list[onnx.NodeProto]


def network(nodes: Nodes, outputs: dict[str, Any], **constants: np.ndarray) -> onnx.ModelProto:
    """x [N, 8] -> h = x @ w, then ``nodes``."""
    first = helper.make_node("MatMul", ["x", "w"], ["h"], "first")
    weights = {"w": normal(0, 8, 8)} | constants
    return tiny.build([first, *nodes], weights, {"x": ["N", 8]}, outputs)


PLAIN = network([helper.make_node("Tanh", ["h"], ["y"], "end")], {"y": ["N", 8]})


def proved(
    written: onnx.ModelProto,
    folder: Path,
    wanted: onnx.ModelProto = PLAIN,
    data: Any = X,
    engines: tuple[Engine, ...] | None = None,
) -> Proof:
    """The proof of ``written`` as the compressed form of ``wanted``."""
    path = folder / "written.onnx"
    path.write_bytes(written.SerializeToString())
    float_outputs = FloatOutputs(prepare(wanted, "net"), wanted)
    return prove(
        path, samples_for(wanted, data), float_outputs, True, silent, "small.onnx", engines
    )


def changed(model: onnx.ModelProto, change: Callable[[onnx.GraphProto], object]) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    change(copied.graph)
    return copied


W = normal(0, 8, 8) + 0.3 * normal(5, 8, 8)


def reweighted(graph: onnx.GraphProto) -> None:
    graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(W, "w"))


# What is right


def test_the_float_network_is_no_way_from_itself(tmp_path: Path) -> None:
    proof = proved(PLAIN, tmp_path)
    assert proof.samples == 12
    assert proof.batches == (1, 3, 8)
    assert proof.float_engine == "onnxruntime"
    assert proof.engines == ("portable", "native")
    # Scores, as far as anyone can tell.
    assert proof.outputs["y"]["native"] == Divergence(0.0, 0.0, 100.0)
    assert proof.warnings() == []


def test_divergence_is_that_of_the_formula(tmp_path: Path) -> None:
    """Over all samples together, though they are run in batches."""
    other = changed(
        PLAIN, lambda g: g.initializer[0].CopyFrom(onnx.numpy_helper.from_array(W, "w"))
    )
    found = proved(other, tmp_path).outputs["y"]["portable"]
    wanted, got = np.tanh(X @ normal(0, 8, 8)), np.tanh(X @ W)
    assert found is not None
    assert found.error == pytest.approx(((got - wanted) ** 2).mean() / wanted.var(), rel=1e-5)
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (wanted, got))
    assert found.kl == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    assert found.agreement == 100 * (wanted.argmax(1) == got.argmax(1)).mean()


def test_each_output_by_itself(tmp_path: Path) -> None:
    ends = [
        helper.make_node("Reshape", ["h", "sizes"], ["a"], "a"),
        helper.make_node("ArgMax", ["h"], ["b"], "b", axis=1, keepdims=0),
        helper.make_node("ReduceSum", ["h"], ["c"], "c", keepdims=0),
    ]
    model = network(ends, {"a": ["N", 2, 4], "c": []}, sizes=np.array([-1, 2, 4]))
    model.graph.output.insert(1, helper.make_tensor_value_info("b", TensorProto.INT64, ["N"]))
    proof = proved(model, tmp_path, wanted=model)
    assert list(proof.outputs) == ["a", "b", "c"]
    wanted = {"a": Divergence(0.0), "b": Divergence(0.0, None, 100.0), "c": Divergence(0.0)}
    for name, engines in proof.outputs.items():
        assert all(found == wanted[name] for found in engines.values())


@pytest.mark.parametrize(
    ("count", "values", "fixed", "sizes"),
    [
        (1, 8, None, [1, 2]),
        (2, 8, None, [1, 2]),
        (3, 8, None, [1, 2]),
        (10, 8, None, [1, 8, 1]),
        (100, 8, None, [1, *[8] * 7, 7]),
        (6, 1 << 21, None, [1, 2, 2, 1]),
        (9, 1 << 23, None, [1, 2, 1]),
        (5, 8, 1, [1] * 5),
        (5, 8, 4, [4, 4]),
    ],
)
def test_batches(count: int, values: int, fixed: int | None, sizes: list[int]) -> None:
    model = tiny.build(
        [helper.make_node("Relu", ["x"], ["y"])], {}, {"x": ["N", values]}, {"y": ["N", values]}
    )
    data = np.broadcast_to(np.float32(1), (count, values))
    found = batches_of(samples_for(model, data), fixed)
    assert [len(part) for part in found] == sizes


def test_a_batch_that_the_file_has_baked_in(tmp_path: Path) -> None:
    """Float runs in batches of two; the network that was read from it in any."""
    flat = helper.make_node("Reshape", ["x", "to"], ["y"], "flat")
    sizes: list[Any] = [{"x": [2, 4, 2]}, {"y": [2, 8]}]
    baked = tiny.build([flat], {"to": np.array([2, 8])}, *sizes)
    free = tiny.build([flat], {"to": np.array([-1, 8])}, {"x": ["N", 4, 2]}, {"y": ["N", 8]})
    data = normal(3, 5, 4, 2)
    proof = proved(free, tmp_path, wanted=baked, data=data)
    assert proof.batches == (1, 4)
    assert proof.outputs["y"]["portable"] == Divergence(0.0, 0.0, 100.0)


def test_a_network_that_takes_single_samples_only(tmp_path: Path) -> None:
    """Though it says that its batch is free: as far as float goes, the file has to."""
    flat = helper.make_node("Reshape", ["x", "to"], ["y"], "flat")
    model = tiny.build([flat], {"to": np.array([1, 8])}, {"x": ["N", 8]}, {"y": [1, 8]})
    assert proved(model, tmp_path, wanted=model).batches == (1,)


def test_our_module_stands_in_for_onnx_runtime(tmp_path: Path) -> None:
    """Where the source is none that it runs."""
    float_outputs = FloatOutputs(prepare(PLAIN, "net"), tmp_path / "none.onnx")
    path = tiny.save(PLAIN, tmp_path / "written.onnx")
    proof = prove(path, samples_for(PLAIN, X), float_outputs, True, silent, "small.onnx")
    assert proof.float_engine == "module"
    assert "none.onnx" in str(proof.float_engine_reason)
    found = proof.outputs["y"]["portable"]
    assert found is not None
    assert found.error < 1e-9


def test_what_is_not_finite_in_float_does_not_count(tmp_path: Path) -> None:
    model = network([helper.make_node("Log", ["h"], ["y"], "end")], {"y": ["N", 8]})
    written = network([helper.make_node("Abs", ["h"], ["y"])], {"y": ["N", 8]})
    (found,) = proved(written, tmp_path, wanted=model, engines=("portable",)).outputs.values()
    assert found["portable"] is not None
    assert found["portable"].kl is None
    assert np.isfinite(found["portable"].error)
    assert found["portable"].broken == 0


def test_borders_of_what_is_not_finite_may_move(tmp_path: Path) -> None:
    """Not for nothing: it is a warning."""
    model = network([helper.make_node("Log", ["h"], ["y"], "end")], {"y": ["N", 8]})
    proof = proved(changed(model, reweighted), tmp_path, wanted=model, engines=("portable",))
    found = proof.outputs["y"]["portable"]
    wanted, got = (X @ w > 0 for w in (normal(0, 8, 8), W))
    assert found is not None
    assert found.broken == pytest.approx(100 * (wanted & ~got).mean())
    assert f"{found.broken:.2g} % NaN or Inf" in proof.warnings()[0]


def test_integers_are_the_same_or_not(tmp_path: Path) -> None:
    model = network([helper.make_node("Greater", ["h", "zero"], ["y"])], {}, zero=np.float32([0]))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.BOOL, ["N", 8]))
    proof = proved(changed(model, reweighted), tmp_path, wanted=model)
    same = 100 * ((X @ normal(0, 8, 8) > 0) == (X @ W > 0)).mean()
    for found in proof.outputs["y"].values():
        assert found is not None
        assert found.discrete
        assert found.agreement == pytest.approx(same)
        assert str(found) == f"{same:.1f} % the same"


def test_shapes_that_follow_values_may_differ(tmp_path: Path) -> None:
    """How many numbers are positive is for the weights to say."""
    count = helper.make_node("NonZero", ["p"], ["y"], "count")
    positive = [helper.make_node("Relu", ["h"], ["p"]), count]
    model = network(positive, {})
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.INT64, [2, "n"]))
    proof = proved(changed(model, reweighted), tmp_path, wanted=model)
    assert proof.outputs["y"] == {"portable": None, "native": None}


# What is wrong


def test_a_file_that_cannot_be_opened_names_the_node(tmp_path: Path) -> None:
    def break_it(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Transpose", ["h"], ["t"], "turn", perm=[0, 2]))
        graph.node.append(helper.make_node("Relu", ["t"], ["u"], "behind"))

    with pytest.raises(ProofError) as caught:
        proved(changed(PLAIN, break_it), tmp_path)
    said = str(caught.value)
    assert said.startswith("engine portable cannot open the network as written: a bug of subbyte")
    assert "please report" in said
    assert "[node turn (Transpose)]" in said
    assert "perm" in said
    assert str(tmp_path) not in said


def test_a_file_that_cannot_be_run_names_the_node(tmp_path: Path) -> None:
    """At a batch of more than one."""
    nodes = [
        helper.make_node("Reshape", ["h", "one"], ["r"], "to one"),
        helper.make_node("Tanh", ["r"], ["y"], "end"),
    ]
    written = network(nodes, {"y": ["N", 8]}, one=np.array([1, 8]))
    with pytest.raises(ProofError, match=r"cannot run .*\[node to one \(Reshape\)\].*\{8,8\}"):
        proved(written, tmp_path)


@pytest.mark.parametrize(
    ("nodes", "output", "said"),
    [
        (
            [helper.make_node("Cast", ["h"], ["y"], to=TensorProto.DOUBLE)],
            TensorProto.DOUBLE,
            r"another type .*output y.*float32.*float64",
        ),
        (
            [helper.make_node("ReduceSum", ["h"], ["y"])],
            TensorProto.FLOAT,
            r"another shape .*output y, batch of 1, engine portable.*\[1, 8\].*\[1, 1\]",
        ),
        (
            [
                helper.make_node("Sub", ["h", "h"], ["o"]),
                helper.make_node("Div", ["o", "o"], ["y"]),
            ],
            TensorProto.FLOAT,
            r"NaN or Inf.*`activations=float`.*output y",
        ),
    ],
    ids=["type", "shape", "NaN"],
)
def test_outputs_that_are_not_those_of_float(
    nodes: Nodes, output: int, said: str, tmp_path: Path
) -> None:
    written = network(nodes, {})
    written.graph.output.append(helper.make_tensor_value_info("y", output, None))
    with pytest.raises(ProofError, match=said):
        proved(written, tmp_path)


def test_another_number_of_outputs(tmp_path: Path) -> None:
    def more(graph: onnx.GraphProto) -> None:
        graph.output.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 8]))

    with pytest.raises(ProofError, match=r"number of outputs.*expected 1, got 2"):
        proved(changed(PLAIN, more), tmp_path)


# What compress makes of it


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Compress `MODEL` with a writer whose result is changed."""
    whole = pipeline.write_coded

    def run(change: Callable[[onnx.GraphProto], object]) -> Path:
        monkeypatch.setattr(pipeline, "write_coded", lambda *given: changed(whole(*given), change))
        subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, method="scalar")
        return tmp_path

    return run


def test_nothing_is_left_of_a_file_that_fails(
    written: Callable[[Any], Path], tmp_path: Path
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"old")

    def break_it(graph: onnx.GraphProto) -> None:
        graph.node[-1].op_type = "Nothing"

    with pytest.raises(ProofError, match="cannot open"):
        written(break_it)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"old"


def test_work_is_kept_for_a_disk_that_was_full(tmp_path: Path) -> None:
    def full(stage: str, *_: object) -> None:
        if stage == "prove":
            raise OutputError("cannot write output", got="No space left on device")

    with pytest.raises(OutputError):
        subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, method="scalar", progress=full)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx.work"]
    subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, method="scalar")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_the_result_has_the_proof(tmp_path: Path) -> None:
    found = subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES, method="scalar").proof
    assert (found.samples, found.held_back, found.batches) == (4, True, (1, 3))
    for divergence in found.outputs["logits"].values():
        assert divergence is not None
        assert divergence.error < 0.02
    inlined = subbyte.compress(MODEL, tmp_path / "b.onnx", IMAGES, method="scalar", inline=True)
    assert inlined.proof.engines == ("portable",)


def test_a_network_whose_batch_is_free_by_name_only(tmp_path: Path) -> None:
    """An exporter that baked a Reshape: in ONNX Runtime float takes single samples only."""
    flat = helper.make_node("Reshape", ["h", "to"], ["y"], "flat")
    model = network([flat], {"y": ["N", 2, 4]}, to=np.array([1, 2, 4]))
    found = subbyte.compress(model, tmp_path / "a.onnx", normal(1, 40, 8), method="scalar")
    assert found.proof.batches == (1,)
    assert found.proof.warnings() == []


def test_few_samples_are_all_coded_with(tmp_path: Path) -> None:
    found = subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES[:15], method="scalar").proof
    assert (found.samples, found.held_back) == (15, False)
    assert "on the 15 samples that it was made with" in found.basis()
