"""Same seed, same bytes: twice, after an interruption anywhere, after a kill, after damage."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.compression.config import CompressOptions
from subbyte.compression.pipeline import compress_network
from subbyte.compression.run import Schedule
from subbyte.progress import Progress
from tests import tiny
from tests.compression.nets import ROUGH_PLAN, Array, classifier, samples_for, smooth_images

IMAGES = smooth_images(80, size=tiny.SIZE)
MODEL = classifier(IMAGES)
STEPS = 12
# A short tuning that still has an effect and several checkpoints.
SCHEDULE = Schedule(check_every=3, warm_up=1)
# One with which twelve steps of tuning do better than none, so that they show in the bytes.
SEED = 1


class Interrupter:
    """Raises `KeyboardInterrupt` at call number ``at`` of the progress function."""

    def __init__(self, at: int | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self.at = at

    def __call__(self, stage: str, done: int, total: int, detail: str) -> None:
        if len(self.calls) == self.at:
            raise KeyboardInterrupt
        assert 0 <= done <= total
        self.calls.append((stage, done))


def compress(
    model: onnx.ModelProto, target: Path, images: Array, progress: Progress, **options: Any
) -> None:
    samples = samples_for(model, images)
    config = CompressOptions(**options)
    compress_network(model, target, samples, config, progress, schedule=SCHEDULE)


class Job:
    """One compression of `MODEL`, with a plan that leaves much to tuning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = folder / "plan.toml"
        self.plan.write_text(ROUGH_PLAN)

    def run(
        self,
        name: str = "a.onnx",
        at: int | None = None,
        model: onnx.ModelProto = MODEL,
        images: Array = IMAGES,
        **options: Any,
    ) -> bytes:
        given = {"plan": self.plan, "tune": STEPS, "seed": SEED} | options
        target = self.folder / name
        compress(model, target, images, Interrupter(at), **given)
        assert not (self.folder / f"{name}.work").exists()
        return target.read_bytes()

    def interrupt(self, at: int, **options: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.run(at=at, **options)
        assert not (self.folder / "a.onnx").exists()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run without interruption writes."""
    return Job(tmp_path_factory.mktemp("whole")).run()


def calls_of(job: Job, **options: Any) -> list[tuple[str, int]]:
    """(stage, done) of every progress call of a run."""
    watcher = Interrupter()
    given = {"plan": job.plan, "tune": STEPS} | options
    compress(MODEL, job.folder / "calls.onnx", IMAGES, watcher, **given)
    (job.folder / "calls.onnx").unlink()
    return watcher.calls


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    return calls_of(Job(tmp_path_factory.mktemp("calls")))


def test_same_seed_same_bytes(job: Job, whole: bytes) -> None:
    assert job.run() == whole
    # The name of the output is no part of it.
    assert job.run("other.onnx") == whole


def test_seed_and_tuning_are_part_of_these_bytes(job: Job, whole: bytes) -> None:
    reseeded = job.run(seed=SEED + 1)
    untuned = job.run(tune=0)
    assert len({whole, reseeded, untuned}) == 3


def test_stages(calls: list[tuple[str, int]], job: Job) -> None:
    assert list(dict.fromkeys(stage for stage, _ in calls)) == [
        *("encode", "tune", "ranges", "prove")
    ]
    by_bits = {"plan": None, "bits": 3.0, "method": "scalar", "tune": 0}
    stages = dict.fromkeys(stage for stage, _ in calls_of(job, **by_bits))
    assert list(stages) == ["plan", "encode", "ranges", "prove"]


@pytest.mark.parametrize(
    ("stage", "place"),
    [
        *(("encode", 0.0), ("encode", 0.5), ("encode", 1.0)),
        *(("tune", 0.0), ("tune", 0.4), ("tune", 0.8), ("tune", 1.0)),
        *(("ranges", 0.0), ("ranges", 1.0)),
    ],
)
def test_interrupted_run_goes_on(
    stage: str, place: float, job: Job, whole: bytes, calls: list[tuple[str, int]]
) -> None:
    of_stage = [number for number, call in enumerate(calls) if call[0] == stage]
    job.interrupt(of_stage[round(place * (len(of_stage) - 1))])
    assert (job.folder / "a.onnx.work").is_dir()
    assert job.run() == whole
    assert {path.name for path in job.folder.iterdir()} == {"a.onnx", "plan.toml"}


@pytest.mark.parametrize("at", [1, 4, 6])
def test_interrupted_run_within_a_budget_goes_on(at: int, job: Job) -> None:
    """In the planning, between planning and encoding, in the encoding."""
    options = {"plan": None, "bits": 3.0, "tune": 0}
    job.interrupt(at, **options)
    assert job.run(**options) == job.run("whole.onnx", **options)


def test_interrupted_again_and_again(job: Job, whole: bytes) -> None:
    """Every run gets a little further: two layers, then three steps of tuning at a time."""
    for at in (2, 4, 7, 7, 7):
        job.interrupt(at)
    assert job.run() == whole


def test_what_is_done_is_not_done_again(
    job: Job, whole: bytes, calls: list[tuple[str, int]]
) -> None:
    """Whatever is done is saved: a checkpoint that is not written anew was not made anew."""
    job.interrupt(len(calls) - 1)
    made = checkpoints(job)
    assert {name.partition(".")[0] for name, *_ in made} >= {"plan", "layer-0", "layer-2", "tune"}
    left: list[set[tuple[str, int, int]]] = []

    def watch(stage: str, *_: object) -> None:
        if stage == "prove":
            left.append(checkpoints(job))

    target = job.folder / "a.onnx"
    compress(MODEL, target, IMAGES, watch, plan=job.plan, tune=STEPS, seed=SEED)
    assert left[0] == made
    assert target.read_bytes() == whole


def checkpoints(job: Job) -> set[tuple[str, int, int]]:
    """Name, inode and time of every checkpoint."""
    files = list((job.folder / "a.onnx.work").glob("*.checkpoint"))
    return {(path.name, path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_work_folder_that_was_asked_for_stays(job: Job, whole: bytes) -> None:
    work = job.folder / "work"
    assert job.run(work=work) == whole
    names = {path.name for path in work.iterdir()}
    assert names >= {"plan.toml", "layer-0.checkpoint"}
    assert not any(name.startswith("activations-") for name in names)
    # The plan there is one to pass on; used again, the folder gives the same.
    assert job.run("b.onnx", plan=work / "plan.toml") == whole
    assert job.run("c.onnx", work=work) == whole


@pytest.mark.parametrize(
    "other",
    [
        {"plan": None},
        {"seed": 3},
        {"tune": 15},
        {"images": smooth_images(80, size=tiny.SIZE, seed=7)},
        {"images": IMAGES[:79]},
        {"model": classifier(IMAGES, seed=3)},
    ],
    ids=["plan", "seed", "tune", "images", "fewer", "model"],
)
def test_work_folder_of_another_job_is_not_used(
    other: dict[str, Any], job: Job, whole: bytes, calls: list[tuple[str, int]]
) -> None:
    work = job.folder / "work"
    job.interrupt(len(calls) - 1, **other, work=work)
    assert job.run(work=work) == whole


@pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
def test_damaged_checkpoints_are_made_anew(
    keep: float, job: Job, whole: bytes, calls: list[tuple[str, int]]
) -> None:
    job.interrupt(len(calls) - 1)
    files = list((job.folder / "a.onnx.work").glob("*.checkpoint"))
    assert {path.stem for path in files} >= {"plan", "layer-0", "layer-1", "layer-2", "tune"}
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    assert job.run() == whole


KILLED = """
import os, signal, sys
import torch
import subbyte
torch.set_num_threads(1)
folder, stage, place = sys.argv[1], sys.argv[2], int(sys.argv[3])

def progress(now, done, total, detail):
    if (now, done) == (stage, place):
        os.kill(os.getpid(), signal.SIGKILL)

subbyte.compress(folder + "/net.onnx", folder + "/a.onnx", folder + "/data.npz:x",
                 progress=progress, plan=folder + "/plan.toml")
"""


def save_inputs(folder: Path) -> None:
    tiny.save(MODEL, folder / "net.onnx")
    np.savez(folder / "data.npz", x=IMAGES)


def test_killed_run_goes_on(job: Job) -> None:
    save_inputs(job.folder)
    for stage, place in (("encode", 1), ("ranges", 1)):
        command = [sys.executable, "-c", KILLED, str(job.folder), stage, str(place)]
        done = subprocess.run(command, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (job.folder / "a.onnx").exists()
    work = job.folder / "a.onnx.work"
    assert {path.stem for path in work.glob("*.checkpoint")} == {
        *("plan", "layer-0", "layer-1", "layer-2")
    }
    source, data = job.folder / "net.onnx", job.folder / "data.npz"
    for name in ("whole.onnx", "a.onnx"):
        subbyte.compress(source, job.folder / name, data, plan=job.plan)
    assert (job.folder / "a.onnx").read_bytes() == (job.folder / "whole.onnx").read_bytes()
    # What the killed runs had spilled is gone with the folder.
    assert not work.exists()


def test_command_line_gives_the_same_bytes(job: Job) -> None:
    save_inputs(job.folder)
    options = {"plan": job.plan, "tune": STEPS, "seed": SEED}
    subbyte.compress(MODEL, job.folder / "whole.onnx", IMAGES, **options)
    arguments = ["compress", job.folder / "net.onnx", "-o", job.folder / "a.onnx"]
    arguments += ["--calib", f"{job.folder / 'data.npz'}:x", "--plan", job.plan]
    arguments += ["--tune", STEPS, "--seed", SEED]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert (job.folder / "a.onnx").read_bytes() == (job.folder / "whole.onnx").read_bytes()
