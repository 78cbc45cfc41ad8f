"""Killed at any moment, a run leaves no part of a file under the name of an output, and the
same command goes on to the same bytes, with nothing left over."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import subbyte
from tests import tiny
from tests.compression.nets import ROUGH_PLAN, classifier, smooth_images
from tests.killing import Killer

KILLS = 10
IMAGES = smooth_images(80, size=tiny.SIZE)
MODEL = classifier(IMAGES)

PARTIAL = re.compile(r"\..+-[a-z0-9_]{8}\.partial")
TIMES = re.compile(rb',? *"(latency_ms|seconds)": [0-9.e-]+')

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    found = Killer(tmp_path_factory.mktemp("killer") / "log")
    yield found
    found.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny.save(MODEL, folder / "net.onnx")
    np.savez(folder / "data.npz", x=IMAGES)
    (folder / "rough.toml").write_text(ROUGH_PLAN)
    subbyte.compress(MODEL, folder / "small.onnx", IMAGES, plan=folder / "rough.toml")
    return folder


def command(name: str, inputs: Path, folder: Path) -> list[object]:
    """A command that writes into ``folder``."""
    given = [inputs / "net.onnx", "--calib", f"{inputs / 'data.npz'}:x"]
    data = ["--data", f"{inputs}/data.npz:x", "--float-network", inputs / "net.onnx"]
    state, plan = folder / "state", folder / "plan.toml"
    points = ["explore", *given, "--bits", "2,4", "-o", folder / "points"]
    return {
        "compress": ["compress", *given, "--bits", 2.5, "--tune", 52, "-o", folder / "a.onnx"],
        "explore": [*points, "--no-latency"],
        "explore and time": points,
        "plan": ["plan", *given, "--bits", 2.5, "-o", plan, "--json", folder / "plan.json"],
        "tune": [
            *("tune", inputs / "small.onnx", *data, "--steps", 210),
            *("--work", state, "-o", folder / "tuned.onnx"),
        ],
    }[name]


class Job:
    """A command, and what it leaves where it is not disturbed."""

    def __init__(self, name: str, killer: Killer, inputs: Path, folder: Path) -> None:
        self._name, self._killer, self._inputs, self._folder = name, killer, inputs, folder
        started = time.monotonic()
        folder.mkdir()
        assert killer.run(folder, command(name, inputs, folder))
        self.seconds = time.monotonic() - started
        self.changes, self.opened = killer.changes(), killer.opened()
        self.whole = read(folder)
        self._fresh = 0

    def fresh(self) -> Path:
        """A folder that nothing has been done in."""
        self._fresh += 1
        folder = self._folder.with_name(str(self._fresh))
        folder.mkdir()
        return folder

    def survives(self, folder: Path, after: float | None = None, at: int = -1) -> bool:
        """Run to be killed: whether it came to its end before that. What is there is checked."""
        arguments = command(self._name, self._inputs, folder)
        ended = self._killer.run(folder, arguments, after, at)
        for name, data in read(folder).items():
            if Path(name).name.startswith(".") or ".work" in name:
                continue
            if name.endswith("points.jsonl"):
                assert set(data.splitlines()) <= set(self.whole[name].splitlines())
            elif not name.endswith("state.pt"):
                assert data == self.whole[name], name
        return ended

    def finish(self, folder: Path) -> None:
        assert self.survives(folder)
        assert read(folder) == self.whole


def read(folder: Path) -> Files:
    """All that is below ``folder``, without times; folders are files without content."""
    return {
        str(path.relative_to(folder)): TIMES.sub(b"", path.read_bytes()) if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def make_job(killer: Killer, inputs: Path, tmp_path: Path) -> Callable[[str], Job]:
    return lambda name: Job(name, killer, inputs, tmp_path / "whole")


@pytest.mark.parametrize("name", ["compress", "explore"])
def test_killed_at_random_moments(name: str, make_job: Callable[[str], Job]) -> None:
    """Again and again, at moments spread over the time that a whole run takes.

    Points are not timed here: most moments would fall into that, and all that it changes is the
    file of the points, before which `test_killed_before_a_change_of_files` kills."""
    job = make_job(name)
    rng = np.random.default_rng(0)
    moments = list((rng.permutation(KILLS) + rng.random(KILLS)) / KILLS)
    folder, seconds, new = job.fresh(), job.seconds, True
    while moments:
        started = time.monotonic()
        if not job.survives(folder, after=moments[-1] * seconds):
            moments.pop()
            new = False
            continue
        # Faster than the moment was: because of what was there already, or the machine.
        seconds = time.monotonic() - started if new else seconds
        job.finish(folder)
        folder, new = job.fresh(), True
    job.finish(folder)


@pytest.mark.parametrize(
    ("name", "kills"),
    [("compress", 5), ("explore", 5), ("explore and time", 1), ("plan", 2), ("tune", 3)],
)
def test_killed_before_a_change_of_files(
    name: str, kills: int, make_job: Callable[[str], Job]
) -> None:
    """Moments that are short: a file is there and not renamed, an output is and its work too.
    One in the middle of writing cannot be met so: only files that are renamed may be written.
    The last change is among them: where points are timed, it is the time of one."""
    job = make_job(name)
    assert job.opened
    assert all(PARTIAL.fullmatch(Path(path).name) for path in job.opened)
    rng = np.random.default_rng(1)
    last = job.changes - 1
    changes = [*rng.choice(last, kills - 1, replace=False), last]
    folder = job.fresh()
    while changes:
        if not job.survives(folder, at=int(changes[-1])):
            changes.pop()
            continue
        job.finish(folder)
        folder = job.fresh()
    job.finish(folder)


def test_processes_of_a_killed_run_end(
    make_job: Callable[[str], Job], killer: Killer, inputs: Path
) -> None:
    """Only the command itself is killed, while its processes make points."""
    job = make_job("explore")
    folder = job.fresh()
    child = killer.start(folder, [*command("explore", inputs, folder), "--jobs", 2])
    while not list(folder.glob("points/*.work")):
        assert running(child)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert not killer.wait()
    for _ in range(3000):
        if not running(child):
            break
        time.sleep(0.01)
    assert not running(child)
    job.finish(folder)


def running(group: int) -> list[str]:
    """The processes of a group, without those that have ended and wait to be asked how."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
            if of == str(group) and state != "Z":
                found.append(path.parent.name)
    return found
