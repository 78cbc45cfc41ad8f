"""The whole trade-off of a network: many budgets in one run, every point kept as a file.

A folder holds one exploration: ``explore.json`` says whose it is, ``NAME.toml`` and
``NAME.onnx`` are plan and network of a point, ``points.jsonl`` has a line a finished point.
Each is written whole or not at all, so that a run that is stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from subbyte.budgets import MOST_BITS, Budget
from subbyte.compression.calibration.culprit import blaming
from subbyte.compression.checkpoint import Checkpoints, work_folder
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import open_device, repeatable
from subbyte.compression.exploration import points_file
from subbyte.compression.exploration.executors import Executor, open_executor
from subbyte.compression.exploration.points import Task
from subbyte.compression.exploration.points_file import POINTS_FILE, Point
from subbyte.compression.latency.machine import THIS_MACHINE, Machine
from subbyte.compression.pipeline import fingerprint, read_source
from subbyte.compression.planning.defaults import check_possible
from subbyte.compression.planning.knapsack import least
from subbyte.compression.planning.make import plan_priced
from subbyte.compression.planning.network_plan import commented_plan
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.compression.planning.search_space import Prices, price
from subbyte.compression.run import Run
from subbyte.compression.validation import hold_back
from subbyte.data import Samples
from subbyte.errors import OptionError, OutputError
from subbyte.files import write_atomic
from subbyte.graph.load.model_file import data_files
from subbyte.methods import METHODS
from subbyte.option_types import check_fields
from subbyte.progress import Progress
from subbyte.runtime.library import find_library

HELD = 0.25
POINTS = 12
FINEST = 4.5
KEY_FILE, PLANS_FILE = "explore.json", "plans.json"
_FORMAT = 1


@dataclass(frozen=True)
class Exploration:
    """The wishes for an exploration.

    ``bits``: the budgets, None: `POINTS` of them from the least to `FINEST`. ``jobs``: points at a
    time, None: one, or as many as a Ray cluster takes. ``latency``: measure the files on the native
    kernels, where there are any. ``executor``: local processes, or a Ray cluster. Its address is
    ``ray_address`` or `RAY_ADDRESS`; without either it is a cluster of this machine.
    """

    bits: Sequence[float] | None = None
    jobs: int | None = None
    latency: bool = True
    executor: Executor = "processes"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ray_address is not None and self.executor != "ray":
            raise OptionError("`ray_address` belongs to `executor=ray`")
        if self.jobs is not None and self.jobs < 1:
            raise OptionError("`jobs` out of range", expected="at least 1", got=self.jobs)
        for value in self.bits or ():
            Budget("bits", value)


def explore_network(
    source: str | os.PathLike[str],
    folder: Path,
    samples: Samples,
    options: CompressOptions,
    wishes: Exploration,
    progress: Progress,
    machine: Machine = THIS_MACHINE,
) -> list[Point]:
    """Compress ``source`` at many budgets of bits, and judge each file on held-back samples.

    ``options`` hold for all points; their budget has to be empty. A quarter of the samples (`HELD`)
    is held back. ``machine``: to measure the files on.

    Returns:
        The points, the one with the fewest bits first.

    Raises:
        OptionError: a folder that belongs to another exploration.
        SubbyteError: as `compress`.
    """
    _check_source(source, folder)
    run = Run(read_source(source, progress, samples.choice), samples, options, progress)
    fit, held = hold_back(samples, HELD, options.seed)
    # Before the folder is taken: the same one serves when the option is right.
    open_device(options.device)
    for choice in options.choices:
        METHODS[choice.method].check_given(choice.options, "`bits`")
    check_possible(run.network, planned_layers(run.network), options)
    with _claimed(folder, run), blaming(run.network, samples):
        points = _make_points(source, folder, replace(run, samples=fit), held, wishes)
    if wishes.latency and find_library() is not None:
        _measure(folder, points, held, progress, machine)
    return sorted(points.values(), key=_order)


def _check_source(source: str | os.PathLike[str], folder: Path) -> None:
    """Raise `OptionError` for a network that has the place of a point's file."""
    for path in data_files(source):
        real = Path(os.path.realpath(path))
        if real.parent == Path(os.path.realpath(folder)) and _is_name(real.stem):
            raise OptionError(
                "a point of the exploration would overwrite the input",
                where=str(path),
                expected="another folder for the points",
            )


def _make_points(
    source: str | os.PathLike[str],
    folder: Path,
    run: Run,
    held: Samples,
    wishes: Exploration,
) -> dict[str, Point]:
    """All points by name: the points of ``points.jsonl``, and the missing ones, made now."""
    progress, task = run.progress, Task(Path(source), folder, run.samples, held, run.config)
    # Opened first: what is wrong with it costs seconds then.
    with open_executor(wishes.executor, wishes.jobs, wishes.ray_address) as make:
        plans = _plans(folder, run, wishes)
        points = {point.name: point for point in read_points(folder)}
        waiting = [name for name in plans if name not in points]
        total = len(points) + len(waiting)
        progress("points", len(points), total, "")
        for point in make(task, waiting, progress):
            points[point.name] = point
            # Of a run that was killed when the file was written, and its work not yet removed.
            Checkpoints(work_folder(folder / point.file), "", keep=False).done()
            _write_points(folder, points.values())
            progress("points", len(points), total, point.name)
    return points


def read_points(folder: Path) -> list[Point]:
    """The finished points of an exploration, which may be none yet.

    Raises:
        OptionError: as `points_file.read_points`.
    """
    there = os.path.exists(folder / POINTS_FILE)
    return points_file.read_points(folder, finite=False) if there else []


def _order(point: Point) -> tuple[float, str]:
    return point.bits, point.name


def _write_points(folder: Path, points: Iterable[Point]) -> None:
    lines = [json.dumps(point.to_dict()) + "\n" for point in sorted(points, key=_order)]
    write_atomic(folder / POINTS_FILE, "".join(lines).encode())


@contextmanager
def _claimed(folder: Path, run: Run) -> Iterator[None]:
    """`_claim`; of an error that would come again no work is left, and nothing at all if there
    was nothing in the folder yet."""
    new = not os.path.exists(folder)
    _claim(folder, run)
    try:
        yield
    except OutputError:
        # A disk that was full, a process that was killed: the same command goes on.
        raise
    except Exception:
        for work in folder.glob(f"*{work_folder(Path('.onnx')).name}"):
            Checkpoints(work, "", keep=False).done()
        if [path.name for path in folder.iterdir()] == [KEY_FILE]:
            (folder / KEY_FILE).unlink()
            if new:
                folder.rmdir()
        raise


def _claim(folder: Path, run: Run) -> None:
    """Make the folder, or check that it is this exploration's."""
    wishes = {k: v for k, v in asdict(run.config).items() if k not in ("work", "samples")}
    digest = hashlib.sha256(json.dumps([_FORMAT, wishes], sort_keys=True, default=str).encode())
    digest.update(run.samples.fingerprint().encode())
    digest.update(fingerprint(run.network))
    key = {"format": _FORMAT, "key": digest.hexdigest()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cannot make the folder", where=str(folder), got=error.strerror
        ) from error
    path = folder / KEY_FILE
    if not path.is_file():
        write_atomic(path, json.dumps(key).encode())
    elif _read_json(path) != key:
        raise OptionError(
            "the folder holds another exploration",
            where=str(folder),
            expected="the same network, samples and options, or another folder",
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OptionError("cannot be read", where=str(path), expected="JSON", got=error) from error


def _plans(folder: Path, run: Run, wishes: Exploration) -> list[str]:
    """Names of the points; the plan of each is in the folder."""
    known = _known_names(folder, wishes.bits)
    if known and all((folder / f"{name}.toml").is_file() for name in known):
        return known
    with repeatable():
        prices = price(run)
    names = {_name(bits): bits for bits in wishes.bits or budgets(prices)}
    for name, bits in names.items():
        planned = plan_priced(run, prices, Budget("bits", bits))
        write_atomic(folder / f"{name}.toml", commented_plan(planned, prices.layers).encode())
    if wishes.bits is None:
        write_atomic(folder / PLANS_FILE, json.dumps(list(names)).encode())
    return list(names)


def _known_names(folder: Path, bits: Sequence[float] | None) -> list[str]:
    """Names of the points, as far as they are known without planning."""
    if bits is not None:
        return list(dict.fromkeys(map(_name, bits)))
    path = folder / PLANS_FILE
    names = _read_json(path) if path.is_file() else []
    if not isinstance(names, list) or not all(map(_is_name, names)):
        raise OptionError("not the names of points", where=str(path), expected=_name(2), got=names)
    return names


def budgets(prices: Prices) -> list[float]:
    """`POINTS` budgets, evenly spread in their logarithm, from the least to `FINEST`."""
    low = prices.bits(least(prices.choices))
    high = prices.bits(sum(max(c.bytes for c in f) for f in prices.choices.values()))
    first = np.ceil(1000 * low) / 1000
    last = max(first, min(high, FINEST, MOST_BITS))
    return [round(float(bits), 3) for bits in np.geomspace(first + 1e-9, last, POINTS)]


def _name(bits: float) -> str:
    return f"bits-{bits:.3f}"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"bits-\d+\.\d{3}", value) is not None


def _measure(
    folder: Path,
    points: dict[str, Point],
    samples: Samples,
    progress: Progress,
    machine: Machine,
) -> None:
    """Time the files that have not been, when nothing else runs: all but the first beside one
    that has been, of which only the part they take counts (docs/decisions/0022)."""
    missing = [name for name, point in points.items() if not point.latency_ms]
    if missing:
        machine.rest()
    files = {name: folder / point.file for name, point in points.items()}
    timed = (name for name in points if name not in missing and files[name].is_file())
    first = next(timed, None)
    for number, name in enumerate(missing):
        progress("latency", number, len(missing), name)
        names = [name] if first is None else [first, name]
        taken = machine.measure_files([files[n] for n in names], samples)
        known = None if first is None else points[first].latency_ms
        whole = 1e3 * taken[0] if known is None else known
        points[name] = replace(points[name], latency_ms=round(whole * taken[-1] / taken[0], 4))
        first = first or name
        _write_points(folder, points.values())
    progress("latency", len(missing), len(missing), "")
