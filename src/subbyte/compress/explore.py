"""The whole trade-off of a network: many budgets in one run, every point kept as a file.

A folder holds one exploration: ``explore.json`` says whose it is, ``NAME.toml`` and
``NAME.onnx`` are plan and network of a point, ``points.jsonl`` has a line a finished point.
Each is written whole or not at all, so that a run that is stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subbyte.budgets import MOST_BITS, Budget
from subbyte.compress.device import open_device, repeatable
from subbyte.compress.encode import stored_bytes
from subbyte.compress.held import Judge, hold_back
from subbyte.compress.knapsack import least
from subbyte.compress.latency import measure_file
from subbyte.compress.options import CompressOptions
from subbyte.compress.pipeline import compress_network, fingerprint, read_source
from subbyte.compress.plan import plan_bits
from subbyte.compress.plan_file import planned_layers, read_plan
from subbyte.compress.plan_text import plan_text
from subbyte.compress.prices import Prices, price
from subbyte.compress.sequence import Progress
from subbyte.data import Samples
from subbyte.errors import OptionError, OutputError
from subbyte.files import write_atomic
from subbyte.graph.network import Network
from subbyte.runtime.library import find_library

HELD = 0.25
POINTS = 12
FINEST = 4.5
KEY_FILE, PLANS_FILE, POINTS_FILE = "explore.json", "plans.json", "points.jsonl"
_FORMAT = 1

Point = dict[str, Any]


@dataclass(frozen=True)
class Exploration:
    """``bits``: the budgets, None: `POINTS` of them from the least to `FINEST`. ``jobs``:
    processes. ``latency``: measure the files on the native kernels, where there are any."""

    bits: Sequence[float] | None = None
    jobs: int = 1
    latency: bool = True

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise OptionError("--jobs out of range", expected="at least 1", got=self.jobs)
        for value in self.bits or ():
            Budget("bits", value)


@dataclass(frozen=True)
class _Task:
    source: str
    folder: Path
    fit: Samples
    held: Samples
    options: CompressOptions
    jobs: int


def explore(
    source: str | os.PathLike[str],
    folder: Path,
    samples: Samples,
    options: CompressOptions,
    wishes: Exploration,
    progress: Progress,
) -> list[Point]:
    """Compress ``source`` at many budgets of bits, and judge each file on held-back samples.

    ``options`` hold for all points; their budget has to be empty. A quarter of the samples
    (`HELD`) is held back. A point has ``name``, ``file``, ``plan``, ``bits`` (per weight),
    ``bytes`` (of the file), ``kl`` (`Score.divergence`), ``agreement`` (percent, None where
    there are no class scores), ``lost`` (`Score.lost`), ``latency_ms`` (one sample, one
    thread, native kernels; left out where not measured) and ``options``.

    Raises:
        OptionError: a folder that belongs to another exploration.
        SubbyteError: as `compress`.
    """
    network = read_source(source)
    fit, held = hold_back(samples, HELD, options.seed)
    _claim(folder, network, samples, options)
    plans = _plans(folder, network, fit, options, wishes, progress)
    task = _Task(os.fspath(source), folder, fit, held, options, wishes.jobs)
    points = {point["name"]: point for point in read_points(folder)}
    waiting = [name for name in plans if name not in points]
    progress("points", len(points), len(points) + len(waiting), "")
    for point in _run(task, waiting, wishes.jobs, progress):
        points[point["name"]] = point
        _write_points(folder, points.values())
        progress("points", len(points), len(plans), point["name"])
    if wishes.latency and find_library() is not None:
        _measure(folder, points, held, progress)
    return sorted(points.values(), key=lambda point: point["bits"])


def read_points(folder: Path) -> list[Point]:
    """The finished points of an exploration.

    Raises:
        OptionError: a file that is no list of points.
    """
    path = folder / POINTS_FILE
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise OptionError("not a list of points", where=str(path), got=error) from error


def _write_points(folder: Path, points: Iterable[Point]) -> None:
    lines = [json.dumps(point) + "\n" for point in sorted(points, key=lambda p: p["bits"])]
    write_atomic(folder / POINTS_FILE, "".join(lines).encode())


def _claim(folder: Path, network: Network, samples: Samples, options: CompressOptions) -> None:
    """Make the folder, or check that it is this exploration's."""
    wishes = {k: v for k, v in asdict(options).items() if k not in ("work", "samples")}
    digest = hashlib.sha256(json.dumps([_FORMAT, wishes], sort_keys=True, default=str).encode())
    digest.update(samples.fingerprint().encode())
    digest.update(fingerprint(network))
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
    elif json.loads(path.read_text(encoding="utf-8")) != key:
        raise OptionError(
            "the folder holds another exploration",
            where=str(folder),
            expected="the same network, samples and options, or another folder",
        )


def _plans(
    folder: Path,
    network: Network,
    fit: Samples,
    options: CompressOptions,
    wishes: Exploration,
    progress: Progress,
) -> list[str]:
    """Names of the points; the plan of each is in the folder."""
    if wishes.bits is not None:
        names = {_name(bits): bits for bits in wishes.bits}
        if all((folder / f"{name}.toml").is_file() for name in names):
            return list(names)
    elif (folder / PLANS_FILE).is_file():
        return list(json.loads((folder / PLANS_FILE).read_text(encoding="utf-8")))
    device = open_device(options.device)
    with repeatable():
        prices = price(network, fit, options, device, progress)
    names = {_name(bits): bits for bits in wishes.bits or budgets(prices)}
    for name, bits in names.items():
        planned = plan_bits(prices, Budget("bits", bits))
        write_atomic(folder / f"{name}.toml", plan_text(planned, prices.layers).encode())
    if wishes.bits is None:
        write_atomic(folder / PLANS_FILE, json.dumps(list(names)).encode())
    return list(names)


def budgets(prices: Prices) -> list[float]:
    """`POINTS` budgets, evenly spread in their logarithm, from the least to `FINEST`."""
    low = 8 * least(prices.choices) / prices.count
    high = 8 * sum(max(c.bytes for c in f) for f in prices.choices.values()) / prices.count
    first = np.ceil(1000 * low) / 1000
    last = max(first, min(high, FINEST, MOST_BITS))
    return [round(float(bits), 3) for bits in np.geomspace(first + 1e-9, last, POINTS)]


def _name(bits: float) -> str:
    return f"bits-{bits:.3f}"


def _run(task: _Task, names: Sequence[str], jobs: int, progress: Progress) -> Iterator[Point]:
    if jobs == 1:
        for name in names:
            yield _point(task, name, progress)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _start, (task,)) as pool:
        try:
            futures = [pool.submit(_work, name) for name in names]
            for future in as_completed(futures):
                yield future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                child.terminate()
            if isinstance(error, BrokenProcessPool):
                raise OutputError(
                    "a process of --jobs was killed; the same command goes on with what is left",
                    expected="enough memory for all of them, or fewer --jobs",
                ) from error
            raise


_task: _Task | None = None


def _start(task: _Task) -> None:
    """Set a worker up. An interrupt is the parent's to handle."""
    global _task
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(max(1, torch.get_num_threads() // task.jobs))


def _work(name: str) -> Point:
    assert _task is not None  # noqa: S101 - set by `_start`
    return _point(_task, name, _silent)


def _point(task: _Task, name: str, progress: Progress) -> Point:
    """Compress with the point's plan, unless its file is there, and judge the file."""
    path = task.folder / f"{name}.onnx"
    options = task.options.with_plan(task.folder / f"{name}.toml")
    if not path.is_file():
        compress_network(task.source, path, task.fit, options, progress)
    network = read_source(task.source)
    score = Judge(network, task.held, open_device(options.device)).score(path)
    return {
        "name": name,
        "file": path.name,
        "plan": f"{name}.toml",
        "bits": _bits(task.folder / f"{name}.toml", network),
        "bytes": path.stat().st_size,
        "kl": score.divergence,
        "agreement": score.agreement,
        "lost": score.lost,
        "options": {
            "budget": float(name.removeprefix("bits-")),
            "methods": list(task.options.allowed),
            "tune": options.tune,
            "activations": options.activations,
            "samples": len(task.fit),
            "held_back": len(task.held),
            "seed": options.seed,
        },
    }


def _bits(plan: Path, network: Network) -> float:
    """Bits per weight of a plan, over all layers (for composite ones the most they take)."""
    layers = planned_layers(network)
    chosen = read_plan(plan, layers)
    taken = sum(stored_bytes(layer, chosen[layer.weight]) for layer in layers)
    return round(8 * taken / sum(layer.shape.count for layer in layers), 4)


def _measure(folder: Path, points: dict[str, Point], samples: Samples, progress: Progress) -> None:
    """Time the files that have not been, one after another, when nothing else runs."""
    missing = [name for name, point in points.items() if "latency_ms" not in point]
    for number, name in enumerate(missing):
        progress("latency", number, len(missing), name)
        seconds = measure_file(folder / points[name]["file"], samples)
        points[name]["latency_ms"] = round(1e3 * seconds, 4)
        _write_points(folder, points.values())
    progress("latency", len(missing), len(missing), "")


def _silent(stage: str, done: int, total: int, detail: str) -> None:
    """No progress."""
