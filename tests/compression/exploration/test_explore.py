"""Explorations: points, what a stopped run leaves, and what it refuses."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.exploration import explore as module
from subbyte.compression.exploration.explore import Exploration, Point, explore_network, read_points
from subbyte.compression.latency.machine import Machine
from subbyte.compression.pipeline import compress_network
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError, OutputError
from subbyte.graph.load.network import prepare
from subbyte.methods import Product
from subbyte.progress import Progress, silent
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import classifier, samples_for, smooth_images

IMAGES = smooth_images(64, size=6)
MODEL = classifier(IMAGES)
BITS = (2.5, 4.0)
NAMES = ["bits-2.500", "bits-4.000"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(MODEL, tmp_path_factory.mktemp("explore") / "net.onnx")


def run(
    source: Path, folder: Path, jobs: int = 1, progress: Progress = silent, **options: object
) -> list[Point]:
    wishes = CompressOptions(**options)  # type: ignore[arg-type]
    samples = samples_for(MODEL, IMAGES)
    return explore_network(
        source, folder, samples, wishes, Exploration(BITS, jobs, latency=False), progress
    )


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished exploration."""
    path = tmp_path_factory.mktemp("explore") / "points"
    run(source, path)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_points_are_kept_as_files_and_lines(folder: Path) -> None:
    points = read_points(folder)
    assert [point.name for point in points] == ["bits-2.500", "bits-4.000"]
    for point, bits in zip(points, BITS, strict=True):
        found = inspect(folder / point.file)
        assert point.bits == pytest.approx(found.bits_per_weight, abs=1e-3)
        assert point.bits <= bits
        assert point.bytes == (folder / point.file).stat().st_size
        assert point.options["budget"] == bits
        assert point.options["held_back"] == 16
        assert 0 <= point.agreement <= 100
        assert (point.proof["samples"], point.proof["held_back"]) == (16, True)
        assert point.proof["outputs"][0]["native"]["kl"] == pytest.approx(point.kl, rel=1e-3)
        assert (folder / point.plan).read_text().startswith("# How each layer is coded")
    assert points[0].kl > points[1].kl > 0
    assert set(content(folder)) == {
        *("explore.json", "points.jsonl"),
        *(f"bits-{bits:.3f}.{kind}" for bits in BITS for kind in ("toml", "onnx")),
    }


def test_a_plan_of_a_point_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    fit, held = module.hold_back(samples_for(MODEL, IMAGES), module.HELD, 0)
    options = CompressOptions(plan=folder / "bits-2.500.toml")
    compress_network(MODEL, tmp_path / "a.onnx", fit, options, silent, held)
    assert (tmp_path / "a.onnx").read_bytes() == (folder / "bits-2.500.onnx").read_bytes()


def test_a_finished_run_does_nothing_again(source: Path, folder: Path) -> None:
    """It neither plans nor codes nor judges: nobody is told of it, and no file is written."""
    before, files = content(folder), written(folder)
    stages: set[str] = set()
    assert run(source, folder, progress=lambda stage, *_: stages.add(stage)) == read_points(folder)
    assert stages == {"points"}
    assert content(folder) == before
    assert written(folder) == files


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.mark.parametrize("at", ["encode", "prove", "points"])
def test_a_stopped_run_goes_on(source: Path, folder: Path, tmp_path: Path, at: str) -> None:
    """Stopped at the second point: in its coding, in its proof, and when it is written."""
    done: list[str] = []

    def stop(stage: str, number: int, total: int, detail: str) -> None:
        if stage == "points" and number:
            done.append(detail)
        if stage == at and (done == [NAMES[0]] if at != "points" else len(done) == 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path, progress=stop)
    left = NAMES if at == "points" else NAMES[:1]
    assert [point.name for point in read_points(tmp_path)] == left
    run(source, tmp_path)
    assert content(tmp_path) == content(folder)


def test_a_run_that_is_stopped_when_a_point_is_written_goes_on(
    source: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is interrupted at the second line of the points."""
    replace, lines = os.replace, []

    def stop(file: Any, target: Any) -> None:
        if Path(target).name == "points.jsonl":
            lines.append(target)
            if len(lines) == 2:
                raise KeyboardInterrupt
        replace(file, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path)
    assert [point.name for point in read_points(tmp_path)] == NAMES[:1]
    run(source, tmp_path)
    assert content(tmp_path) == content(folder)


def test_work_of_a_point_that_was_written_goes(source: Path, folder: Path, tmp_path: Path) -> None:
    """Of a run that was killed between writing the file and removing its work."""
    for name, data in content(folder).items():
        if name != "points.jsonl":
            (tmp_path / name).write_bytes(data)
    work = tmp_path / "bits-2.500.onnx.work"
    work.mkdir()
    (work / "plan.checkpoint").touch()
    run(source, tmp_path)
    assert content(tmp_path) == content(folder)


@pytest.mark.parametrize("name", ["explore.json", "plans.json"])
def test_damaged_facts(source: Path, tmp_path: Path, name: str) -> None:
    """Not by us: they are written whole."""
    run(source, tmp_path)
    (tmp_path / name).write_text("{")
    samples, wishes = samples_for(MODEL, IMAGES), Exploration(latency=False)
    with pytest.raises(OptionError, match=rf"cannot be read.*{name}"):
        explore_network(source, tmp_path, samples, CompressOptions(), wishes, silent)


def test_processes_give_the_same_files(source: Path, folder: Path, tmp_path: Path) -> None:
    run(source, tmp_path, jobs=2)
    assert content(tmp_path) == content(folder)


def test_points_of_a_network_with_infinite_outputs(tmp_path: Path) -> None:
    point = {"name": "bits-2.000", "file": "a.onnx", "bits": 2.0, "bytes": 9, "kl": float("inf")}
    (tmp_path / "points.jsonl").write_text(json.dumps(point) + "\n")
    (found,) = read_points(tmp_path)
    assert point.items() <= found.to_dict().items()


def test_a_wrong_device_does_not_take_the_folder(source: Path, tmp_path: Path) -> None:
    """The right one is another exploration."""
    with pytest.raises(OptionError, match="`device`"):
        run(source, tmp_path / "points", device="toaster")
    assert not (tmp_path / "points").exists()


def test_words_that_no_layer_fills_do_not_take_the_folder(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="words: no layer has more than"):
        run(source, tmp_path / "points", method=Product(words=256))
    assert not (tmp_path / "points").exists()


def test_the_network_is_no_point(source: Path, tmp_path: Path) -> None:
    network = Path(shutil.copy(source, tmp_path / "bits-2.000.onnx"))
    with pytest.raises(OptionError, match=r"would overwrite the input .*bits-2\.000\.onnx"):
        run(network, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [network.name]
    assert network.read_bytes() == source.read_bytes()


def test_another_exploration_is_refused(source: Path, folder: Path) -> None:
    with pytest.raises(OptionError, match="holds another exploration"):
        run(source, folder, seed=1)


def test_damaged_points(source: Path, tmp_path: Path) -> None:
    (tmp_path / "points.jsonl").write_text("{\n")
    with pytest.raises(OptionError, match=r"not a list of points.*points.jsonl"):
        run(source, tmp_path)


def test_points_that_are_none(tmp_path: Path) -> None:
    assert read_points(tmp_path) == []
    for damage in ("[]", "5", '{"bits": 2}', '{"name": "bits-2.000", "bits": 2}'):
        (tmp_path / "points.jsonl").write_text(damage + "\n")
        with pytest.raises(OptionError, match=r"point.*points.jsonl, line 1"):
            read_points(tmp_path)


def test_options() -> None:
    with pytest.raises(OptionError, match="`jobs`"):
        Exploration(jobs=0)
    with pytest.raises(OptionError, match="`bits` out of range"):
        Exploration(bits=(2.0, 9.0))


@pytest.mark.parametrize("there", [False, True])
def test_a_point_out_of_reach(source: Path, tmp_path: Path, there: bool) -> None:
    """Nothing is left, but a folder that the user had."""
    folder = tmp_path / "points"
    if there:
        folder.mkdir()
    with pytest.raises(BudgetError, match="out of reach"):
        explore_network(
            source,
            folder,
            samples_for(MODEL, IMAGES),
            CompressOptions(),
            Exploration((0.2,)),
            silent,
        )
    assert list(tmp_path.rglob("*")) == ([folder] if there else [])


@pytest.mark.parametrize("kind", [BudgetError, OutputError, KeyboardInterrupt])
def test_work_of_points_goes_with_an_error_that_would_come_again(
    source: Path, tmp_path: Path, kind: type[BaseException]
) -> None:
    """Also that of other points, whose processes are ended."""

    def fail(stage: str, *_: object) -> None:
        if stage != "encode":
            return
        work = tmp_path / "bits-4.000.onnx.work"
        work.mkdir()
        (work / "plan.checkpoint").touch()
        raise kind("full or not")

    with pytest.raises(kind):
        run(source, tmp_path, progress=fail)
    left = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert sorted(left) == ([] if kind is BudgetError else [f"{name}.onnx.work" for name in NAMES])


def plans(folder: Path) -> list[str]:
    """Names of the points of an exploration by default, and their plans in ``folder``."""
    fit, _ = module.hold_back(samples_for(MODEL, IMAGES), module.HELD, 0)
    return module._plans(folder, Run(prepare(MODEL, "net"), fit), Exploration())


def test_budgets_reach_from_the_least_to_the_finest(tmp_path: Path) -> None:
    names = plans(tmp_path)
    assert json.loads((tmp_path / "plans.json").read_text()) == names
    assert len(names) == module.POINTS
    assert names == sorted(names)
    assert all((tmp_path / f"{name}.toml").is_file() for name in names)


def test_what_others_did_to_the_plans(source: Path, tmp_path: Path) -> None:
    """A plan that is gone is made again; names that are none are refused."""
    names = plans(tmp_path)
    before = content(tmp_path)
    (tmp_path / f"{names[3]}.toml").unlink()
    assert plans(tmp_path) == names
    assert content(tmp_path) == before
    given = (source, tmp_path, samples_for(MODEL, IMAGES), CompressOptions(), Exploration(), silent)
    for damage in ("5", "{}", "null", "[2.0]", '["../net"]', f'["{names[0]}", "bits-x"]'):
        (tmp_path / "plans.json").write_text(damage)
        with pytest.raises(OptionError, match=r"not the names of points.*plans.json.*bits-2\.000"):
            explore_network(*given)


@dataclass(frozen=True)
class Pretended(Machine):
    """Files take ``parts``, by name, and so many times longer each time that they are measured."""

    parts: Mapping[str, float] = field(default_factory=dict)
    speeds: Iterator[float] = field(default_factory=lambda: itertools.repeat(1.0))
    events: list[str] = field(default_factory=list)

    def rest(self) -> None:
        self.events.append("rest")

    def measure_files(self, paths: Sequence[Path], samples: Samples) -> list[float]:
        names = [path.name for path in paths]
        self.events.append(" ".join(names))
        speed = next(self.speeds)
        return [self.parts[name] * speed for name in names]


def test_points_are_timed_beside_the_first_after_a_rest(
    source: Path, tmp_path: Path, folder: Path
) -> None:
    """However much slower the machine has become by then."""
    parts = {"bits-2.500.onnx": 0.001, "bits-4.000.onnx": 0.0015}
    machine = Pretended(parts=parts, speeds=iter((2.0, 7.0)))
    shutil.copytree(folder, tmp_path / "points")
    given = (samples_for(MODEL, IMAGES), CompressOptions(), Exploration(BITS, 1, latency=True))
    for _ in range(2):
        points = explore_network(source, tmp_path / "points", *given, silent, machine)
        assert [point.latency_ms for point in points] == [2.0, 3.0]
    # Nothing is left to be timed in the second run.
    assert machine.events == ["rest", "bits-2.500.onnx", "bits-2.500.onnx bits-4.000.onnx"]


@pytest.mark.parametrize("gone", [False, True])
def test_a_point_is_timed_beside_one_of_an_earlier_run(
    gone: bool, source: Path, tmp_path: Path, folder: Path
) -> None:
    """Alone where the file of that is gone."""
    points = tmp_path / "points"
    shutil.copytree(folder, points)
    first, last = map(json.loads, (points / "points.jsonl").read_text().splitlines())
    lines = (first | {"latency_ms": None}, last | {"latency_ms": 4.0})
    (points / "points.jsonl").write_text("".join(json.dumps(point) + "\n" for point in lines))
    if gone:
        (points / last["file"]).unlink()
    machine = Pretended(parts={first["file"]: 0.009, last["file"]: 0.012})
    samples, timed = samples_for(MODEL, IMAGES), Exploration(BITS, 1, latency=True)
    found = explore_network(source, points, samples, CompressOptions(), timed, silent, machine)
    assert [point.latency_ms for point in found] == [9.0 if gone else 3.0, 4.0]
