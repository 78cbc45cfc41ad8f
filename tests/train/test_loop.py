"""The loop: labels or a teacher, stopped and resumed, half precision, several processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import subbyte
from subbyte.compression.divergence import divergence
from subbyte.errors import CalibrationError, OptionError, OutputError, WeightError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.methods import Product
from subbyte.progress import Progress, silent
from subbyte.train import Student, fit, load
from tests import tiny
from tests.compression.nets import relative, run
from tests.train.labelled import IMAGES, MODEL, X, Y, cross_entropy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    subbyte.compress(MODEL, path, IMAGES, method=Product(gain=0))
    return path


def loader(batch: int = 16) -> DataLoader[Any]:
    return DataLoader(TensorDataset(X, Y), batch, shuffle=True)


def state(student: Student) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in student.named_parameters()}


def same(one: Student, other: Student) -> bool:
    theirs = state(other)
    return all(torch.equal(value, theirs[name]) for name, value in state(one).items())


def score(student: nn.Module) -> float:
    with torch.no_grad():
        return float(cross_entropy(student(X), Y))


def test_labels(small: Path, tmp_path: Path) -> None:
    student = load(small)
    before = score(student)
    seen: list[tuple[int, int]] = []
    fit(
        student,
        loader(),
        60,
        loss=cross_entropy,
        rate=10,
        progress=lambda stage, done, total, detail: seen.append((done, total)),
    )
    assert seen == [(step, 60) for step in range(1, 61)]
    assert score(student) < 0.8 * before
    student.save(tmp_path / "tuned.onnx")
    with torch.no_grad():
        assert relative(run(tmp_path / "tuned.onnx", IMAGES), student(X)) < 2e-3


@pytest.mark.parametrize("kind", ["file", "module"])
def test_teacher(kind: str, small: Path, tmp_path: Path) -> None:
    module = GraphModule(prepare(MODEL, "net")).eval()
    teacher: Any = module if kind == "module" else tiny.save(MODEL, tmp_path / "float.onnx")
    student = load(small)

    def harm() -> float:
        with torch.no_grad():
            return float(divergence((module(X),), (student(X),)))

    before = harm()
    fit(student, X.split(16), 60, float_network=teacher, rate=10)
    assert harm() < 0.8 * before


@pytest.mark.parametrize("at", [3, 5, 8, 12])
def test_interrupted_and_resumed_is_uninterrupted(at: int, small: Path, tmp_path: Path) -> None:
    """At a checkpoint, between two, at the end of an epoch, at the very end."""

    def go(checkpoint: Path | None, progress: Progress = silent) -> Student:
        student = load(small)
        # Five batches an epoch; torch's generator is wherever it happens to be.
        torch.rand(at)
        fit(
            student,
            loader(),
            12,
            loss=cross_entropy,
            checkpoint=checkpoint,
            every=4,
            progress=progress,
        )
        return student

    def stop(stage: str, done: int, total: int, detail: str) -> None:
        if done == at:
            raise KeyboardInterrupt

    whole = go(None)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run.pt", stop)
    resumed = go(tmp_path / "run.pt")
    assert same(resumed, whole)
    assert not same(resumed, load(small))
    # Done: nothing is left to do.
    steps: list[int] = []
    again = go(tmp_path / "run.pt", lambda stage, done, total, detail: steps.append(done))
    assert steps == []
    assert same(again, whole)


def test_a_loop_of_ones_own_resumes_from_state_dicts(small: Path) -> None:
    def train(student: Student, optimizer: Any, first: int, last: int) -> None:
        for step in range(first, last):
            index = torch.arange(step, step + 16)
            loss = cross_entropy(student(X[index]), Y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def parts() -> tuple[Student, Any]:
        student = load(small)
        return student, torch.optim.Adam(student.parameter_groups())

    whole, optimizer = parts()
    train(whole, optimizer, 0, 8)
    first, optimizer = parts()
    train(first, optimizer, 0, 5)
    second, resumed = parts()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    train(second, resumed, 5, 8)
    assert same(second, whole)


def test_mixed_precision(small: Path) -> None:
    plain, half = load(small), load(small)
    before = score(plain)
    for student, precision in ((plain, None), (half, torch.bfloat16)):
        fit(student, loader(), 60, loss=cross_entropy, rate=10, precision=precision)
    assert all(p.dtype == torch.float32 for p in half.parameters() if p.requires_grad)
    assert not same(plain, half)
    assert score(half) < 0.8 * before
    assert score(half) == pytest.approx(score(plain), rel=0.2)
    # Codes of activations stay whole numbers.
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert relative(half(X).float(), half(X)) < 1e-2


# Several processes

WORKER = """
import sys
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from subbyte.train import fit, load
from tests.train.labelled import X, Y, cross_entropy

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
data = TensorDataset(X, Y)
sampler = DistributedSampler(data, shuffle=False)
student = load(sys.argv[1])
loader = DataLoader(data, 8, sampler=sampler)
fit(student, loader, 6, loss=cross_entropy, checkpoint=sys.argv[2] + "/run.pt", every=3)
state = {n: p.detach() for n, p in student.named_parameters() if p.requires_grad}
torch.save(state, f"{sys.argv[2]}/rank{rank}.pt")
if rank == 0:
    student.save(sys.argv[2] + "/tuned.onnx")
dist.destroy_process_group()
"""


def test_two_processes(small: Path, tmp_path: Path) -> None:
    """Gradients are averaged: both ranks end alike, as one process does on both parts."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(small), str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())
    alone = load(small)
    # Rank r of a DistributedSampler has samples r, r + 2, r + 4 ...
    batches = [(X[k : k + 16], Y[k : k + 16]) for k in range(0, 80, 16)]
    fit(alone, batches, 6, loss=cross_entropy)
    untrained = state(load(small))
    for name, value in alone.named_parameters():
        if value.requires_grad:
            moved = float((value - untrained[name]).detach().abs().max())
            lost = float((value - ranks[0][name]).detach().abs().max())
            assert lost <= 0.05 * moved + 1e-6, name
    assert (tmp_path / "run.pt").exists()
    assert run(tmp_path / "tuned.onnx", IMAGES).shape == (80, 4)


def environment() -> dict[str, str]:
    import os

    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [found.get("PYTHONPATH")])])
    return found | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


# Bad input


class Nothing:
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps out of range"),
        ({"every": 0}, "every out of range"),
        ({"rate": 0.0}, "rate out of range"),
        ({"precision": torch.float16}, "precision: expected None or torch.bfloat16"),
        ({"loss": None}, "one of loss and float_network, got neither"),
        ({"float_network": "a.onnx"}, "one of loss and float_network, got both"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, small: Path) -> None:
    arguments: dict[str, Any] = {"steps": 2, "loss": cross_entropy, **options}
    with pytest.raises(OptionError, match=message):
        fit(load(small), loader(), **arguments)


def test_bad_loaders_and_losses(small: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no batches to train on"):
        fit(load(small), Nothing(), 2, loss=cross_entropy)
    with pytest.raises(OutputError, match="folder does not exist"):
        fit(load(small), loader(), 2, loss=cross_entropy, checkpoint=tmp_path / "no" / "a.pt")
    with pytest.raises(WeightError, match="training diverged at step 1"):
        fit(
            load(small),
            loader(),
            2,
            loss=lambda got, wanted: cross_entropy(got, wanted) * torch.nan,
            checkpoint=tmp_path / "a.pt",
            every=1,
        )
    with pytest.raises(OptionError, match="outputs have no gradient to train by"):
        fit(load(small), loader(), 2, loss=lambda got, wanted: got.argmax(1).float().mean())
    assert not list(tmp_path.iterdir())


def test_bad_checkpoints(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    fit(load(small), loader(), 2, loss=cross_entropy, checkpoint=path)
    with pytest.raises(OptionError, match="checkpoint of another run"):
        fit(load(small), loader(), 3, loss=cross_entropy, checkpoint=path)
    whole = path.read_bytes()
    for kept in (whole[:-5], whole[:100], b""):
        path.write_bytes(kept)
        with pytest.raises(OptionError, match="checkpoint cannot be read"):
            fit(load(small), loader(), 2, loss=cross_entropy, checkpoint=path)
    for other in (torch.ones(3), [1], "text", None, {}):
        torch.save(other, path)
        with pytest.raises(OptionError, match="checkpoint cannot be read"):
            fit(load(small), loader(), 2, loss=cross_entropy, checkpoint=path)
