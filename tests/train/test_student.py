"""A compressed file as a module: it computes what the file does, learns, and is written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor

import subbyte
from subbyte.compression.divergence import divergence
from subbyte.errors import ModelFileError, OptionError, OutputError, WeightError
from subbyte.graph.compressed.trainable import read_coded
from subbyte.graph.load.network import load_model
from subbyte.methods import Product, decode_weight
from subbyte.train import Student, load
from tests import tiny
from tests.compression.nets import DATA, classifier, needs_data, relative, run, smooth_images

IMAGES = smooth_images(96, size=tiny.SIZE)
MODEL = classifier(IMAGES)
X = torch.from_numpy(IMAGES)
KINDS: dict[str, dict[str, Any]] = {
    "product": {"method": "product"},
    "product without gain": {"method": Product(gain=0)},
    "scalar": {"method": "scalar"},
    "ternary": {"method": "ternary"},
    "composite": {"method": "composite"},
    "float activations": {"method": "product", "activations": "float"},
}
TRAINED = {
    "product": {"codebook", "log_scale"},
    "product without gain": {"codebook", "log_scale"},
    "scalar": {"log_scale"},
    "ternary": {"latent_left", "latent_right", "log_d", "log_scale"},
    "composite": {"log_scale"},
    "float activations": {"codebook", "log_scale"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("small")
    paths = {kind: folder / f"{n}.onnx" for n, kind in enumerate(KINDS)}
    for kind, path in paths.items():
        subbyte.compress(MODEL, path, IMAGES, **KINDS[kind])
    return paths


def targets() -> Tensor:
    """Labels that the compressed networks do not know yet."""
    return (X.mean((1, 2, 3)) > 0).long() + 2 * (X[:, 0].mean((1, 2)) > 0).long()


def adam(student: Student) -> torch.optim.Adam:
    """Ten times the usual rates: a test is short."""
    groups = student.parameter_groups()
    return torch.optim.Adam([group | {"lr": 10 * group["lr"]} for group in groups])


def learn(student: Student, steps: int = 25) -> tuple[float, float]:
    optimizer, losses = adam(student), []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(student(X), targets())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


@every_kind
def test_it_computes_what_the_file_does(kind: str, files: dict[str, Path]) -> None:
    with torch.no_grad():
        got = load(files[kind])(X)
    # Sums in another order now and then round an activation to its neighbour.
    limit = 1e-9 if kind == "float activations" else 1e-3
    assert relative(got, run(files[kind], IMAGES)) < limit


@every_kind
def test_unchanged_it_is_written_as_it_was(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    load(files[kind]).save(tmp_path / "again.onnx")
    assert relative(run(tmp_path / "again.onnx", IMAGES), run(files[kind], IMAGES)) < 1e-4
    before, after = (
        read_coded(load_model(path), "a") for path in (files[kind], tmp_path / "again.onnx")
    )
    for one, other in zip(before.weights, after.weights, strict=True):
        np.testing.assert_allclose(
            decode_weight(other.coded), decode_weight(one.coded), rtol=2e-3, atol=1e-6
        )


@every_kind
def test_it_learns_and_the_file_has_learned(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    student = load(files[kind])
    before = {name: value.detach().clone() for name, value in student.named_parameters()}
    trained = {name for name, value in student.named_parameters() if value.requires_grad}
    assert {name.split(".")[-1] for name in trained if name.startswith("weights.1")} == (
        TRAINED[kind]
    )
    assert {name for name in trained if name.startswith("biases")} == {
        "biases.0",
        "biases.1",
        "biases.2",
    }
    first, last = learn(student)
    assert last < 0.9 * first
    for name, value in student.named_parameters():
        assert torch.equal(value, before[name]) == (name not in trained), name
    student.save(tmp_path / "tuned.onnx")
    with torch.no_grad():
        assert relative(run(tmp_path / "tuned.onnx", IMAGES), student(X)) < 2e-3
    _check_structure(files[kind], tmp_path / "tuned.onnx", kind)


def _check_structure(before: Path, after: Path, kind: str) -> None:
    """The same nodes, codes and activation scales; other codebooks, scales and biases."""
    one, other = onnx.load(before), onnx.load(after)
    assert [(n.op_type, n.name) for n in one.graph.node] == [
        (n.op_type, n.name) for n in other.graph.node
    ]
    assert one.functions == other.functions
    arrays = [
        {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        for model in (one, other)
    ]
    assert set(arrays[0]) <= set(arrays[1])
    changed = {n for n, array in arrays[0].items() if not np.array_equal(array, arrays[1][n])}
    kinds = {name.partition(".")[2] for name in changed} - {""}
    held = {"ternary": {"left", "right", "d", "scale"}}
    assert kinds <= held.get(kind, {"codebook", "scale"})
    biases = {name for n in one.graph.node for name in n.input if n.domain == "subbyte"} & changed
    assert {n for n in changed if not n.partition(".")[2]} <= biases


def test_rates_are_those_of_tuning(files: dict[str, Path]) -> None:
    student = load(files["product"])
    groups = student.parameter_groups()
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in student.parameters() if p.requires_grad)
    assert {group["lr"] for group in groups} == {1e-3, 5e-4, 3e-4}


def test_a_saturated_activation_passes_no_gradient(files: dict[str, Path]) -> None:
    """The ReLU of the file is the saturation of its codes."""
    student = load(files["scalar"])
    with torch.no_grad():
        student.biases[1].fill_(-1e4)
    student(X).square().sum().backward()
    assert student.biases[1].grad is not None
    assert float(student.biases[1].grad.abs().max()) == 0
    assert float(student.biases[2].grad.abs().max()) > 0  # type: ignore[union-attr]


def test_distillation_brings_it_nearer(files: dict[str, Path]) -> None:
    """With the float network as the teacher, in a loop of one's own."""
    from subbyte.graph.load.network import prepare
    from subbyte.graph.module.graph_module import GraphModule

    teacher = GraphModule(prepare(MODEL, "net")).eval()
    student = load(files["product without gain"])
    wanted = teacher(X).detach()
    optimizer, harms = adam(student), []
    for _ in range(30):
        loss = divergence((wanted,), (student(X),))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        harms.append(loss.item())
    assert min(harms) < 0.8 * harms[0]


def test_weights_and_biases_that_layers_share(tmp_path: Path) -> None:
    """A weight read by two nodes is trained once; equal biases are apart once trained."""
    weights = tiny.conv_weights()
    shared = {name: weights[name] for name in ("conv2.weight", "head.weight", "head.bias")}
    shared |= {"conv1.weight": weights["conv1.weight"], "zero": np.zeros(16, np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "conv1.weight", "zero"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "r1"),
        helper.make_node("Conv", ["b", "conv2.weight", "zero"], ["c"], "conv2", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"], "r2"),
        helper.make_node("Conv", ["d", "conv2.weight", "zero"], ["e"], "conv3", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["e"], ["f"], "pool"),
        helper.make_node("Flatten", ["f"], ["g"], "flatten"),
        helper.make_node("Gemm", ["g", "head.weight", "head.bias"], ["logits"], "head", transB=1),
    ]
    model = tiny.build(nodes, shared, {"input": ["N", 3, 6, 6]}, {"logits": ["N", 4]})
    path = tmp_path / "a.onnx"
    subbyte.compress(model, path, IMAGES, method="scalar")
    student = load(path)
    assert len(student.weights) == 3
    assert len(student.biases) == 4
    learn(student, 5)
    student.save(tmp_path / "b.onnx")
    with torch.no_grad():
        assert relative(run(tmp_path / "b.onnx", IMAGES), student(X)) < 2e-3


# Bad input


def test_files_that_cannot_be_trained(files: dict[str, Path], tmp_path: Path) -> None:
    plain = tiny.save(MODEL, tmp_path / "float.onnx")
    with pytest.raises(ModelFileError, match="nothing coded to train"):
        load(plain)
    subbyte.inline(files["product"], tmp_path / "inlined.onnx")
    with pytest.raises(ModelFileError, match="inlined file cannot be trained"):
        load(tmp_path / "inlined.onnx")
    with pytest.raises(ModelFileError, match="cannot read the model"):
        load(tmp_path / "nothing.onnx")
    newer = onnx.load(files["product"])
    newer.metadata_props[0].value = "99"
    assert newer.metadata_props[0].key == "subbyte.format"
    with pytest.raises(ModelFileError, match=r"another format.*expected 1, got 99"):
        load(newer)


def test_bad_calls(files: dict[str, Path], tmp_path: Path) -> None:
    student = load(files["scalar"])
    with pytest.raises(OptionError, match="wrong number of inputs"):
        student(X, X)
    with pytest.raises(OutputError, match="folder does not exist"):
        student.save(tmp_path / "no" / "a.onnx")
    with torch.no_grad():
        student.biases[0][0] = float("nan")
    with pytest.raises(WeightError, match=r"training diverged \[biases.0\]"):
        student.save(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@needs_data
@pytest.mark.parametrize(
    ("network", "shape", "options"),
    [
        ("cifar10_resnet/resnet20.onnx", (3, 32, 32), {"method": "product"}),
        ("kws_transformer/kwt1.onnx", (98, 40), {"method": "scalar"}),
    ],
)
def test_real_networks(
    network: str, shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    """Shortcuts, pools, attention: everything in between has a gradient."""
    if not (DATA / network).exists():
        pytest.skip(f"no {network} in the data folder")
    samples = np.random.default_rng(0).standard_normal((24, *shape)).astype(np.float32)
    subbyte.compress(DATA / network, tmp_path / "a.onnx", samples, **options)
    student = load(tmp_path / "a.onnx")
    got = student(torch.from_numpy(samples))
    assert relative(got.detach(), run(tmp_path / "a.onnx", samples)) < 0.02
    got.square().sum().backward()
    for name, value in student.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, name
    student.save(tmp_path / "b.onnx")
