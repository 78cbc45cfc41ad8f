"""Points of an exploration made on a Ray cluster.

Workers need not see the driver's disk: the network's files, samples, options and plans go to
them through Ray's object store, and the bytes of a finished file come back. Only the driver
writes to the folder. A task whose worker or node is lost is run again elsewhere; as the same
seed gives the same bytes, it does not show in the result.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subbyte._version import __version__
from subbyte.compression.config import CompressOptions
from subbyte.compression.exploration.points import Task, make_point
from subbyte.compression.exploration.points_file import Point
from subbyte.data import Samples
from subbyte.errors import OptionError, OutputError, SubbyteError, reason
from subbyte.extras import ray_extra
from subbyte.files import write_atomic
from subbyte.graph.load.model_file import model_files
from subbyte.progress import Progress, silent

RETRIES = 5
SECONDS_TO_ANSWER = 10.0
# How a client of HTTP/2, which gRPC is made on, begins: with an empty frame of settings. The
# server begins with such a frame too; the type is its byte 3.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = b"\x04"
# No usage reports; and Ray is not to hide GPUs from tasks that ask for none with a warning.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True)
class _Parcel:
    """The things that all tasks need, in bytes: ``model`` has the files by their name."""

    version: str
    source: str
    model: dict[str, bytes]
    fit: Samples
    held: Samples
    options: CompressOptions


@contextmanager
def connected(address: str | None, jobs: int | None) -> Iterator[None]:
    """Be connected to the cluster at ``address``, else `RAY_ADDRESS`, else to one of this
    machine (``jobs`` CPUs, all if None) that ends with the block. A connection that is there
    already is used as it is.

    Raises:
        MissingDependencyError: no ray.
        OptionError: no cluster at the address, or one of another Ray or Python.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with ray_extra("`executor=ray`"):
        import ray

    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(where)
    own: dict[str, Any] = {}
    if where == "local":
        own = {"num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(where, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OptionError("cannot join the Ray cluster", where=where, got=error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(where: str) -> None:
    """Ray itself would try for many minutes."""
    if where in ("auto", "local"):
        return
    host, found, port = where.rpartition(":")
    if not found or "://" in where:
        raise OptionError(
            "not the address of a Ray cluster", expected="HOST:PORT of its head", got=where
        )
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER) as stream,
            stream.makefile("rb") as answers,
        ):
            stream.sendall(_HELLO)
            speaks = os.environ.get("RAY_USE_TLS", "0") != "0" or answers.read(4)[3:] == _SETTINGS
    except (OSError, ValueError, OverflowError) as error:
        raise OptionError(
            "no Ray cluster answers", where=where, expected="HOST:PORT of its head", got=error
        ) from error
    if not speaks:
        raise OptionError(
            "the program that answers is no Ray cluster",
            where=where,
            expected="the port of the head, not the port of its dashboard",
        )


def run(jobs: int | None, task: Task, names: Sequence[str], progress: Progress) -> Iterator[Point]:
    """The points of these names as they are finished, at most ``jobs`` at a time.

    None: as many as the cluster takes. The points' files are written to the task's folder.

    Raises:
        SubbyteError: the error of a point.
        OutputError: a point whose worker was lost more than `RETRIES` times.
    """
    import ray

    gpus = int(task.options.device.startswith("cuda"))
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_make)
    parcel = ray.put(_pack(task))
    waiting, running = list(names), list[Any]()
    while waiting or running:
        while waiting and len(running) < (jobs or len(names)):
            name = waiting.pop(0)
            running.append(remote.remote(parcel, name, _files_of(task, name)))
        done, running = ray.wait(running)
        point, data = _result(done[0])
        write_atomic(task.folder / point.file, data)
        yield point


def _result(reference: Any) -> tuple[Point, bytes]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, SubbyteError):
            raise error.cause from None
        raise
    except RayError as error:
        raise OutputError(
            "workers of the Ray cluster were lost; the same command goes on with the rest",
            expected=f"a point whose worker is lost at most {RETRIES} times",
            got=reason(error),
        ) from error


def _pack(task: Task) -> _Parcel:
    options = task.options
    if options.device.startswith("cuda"):
        # A task sees one GPU, the one it was given.
        options = replace(options, device="cuda")
    return _Parcel(
        __version__,
        task.source.name,
        model_files(task.source),
        task.fit.compact(),
        task.held.compact(),
        options,
    )


def _files_of(task: Task, name: str) -> dict[str, bytes]:
    """The plan of a point; and its network, where a stopped run has left one to be judged."""
    paths = (task.folder / f"{name}.toml", task.folder / f"{name}.onnx")
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _make(parcel: _Parcel, name: str, files: dict[str, bytes]) -> tuple[Point, bytes]:
    """On a worker: the point, and its file."""
    if parcel.version != __version__:
        raise OptionError(
            "a node of the Ray cluster has another version of subbyte",
            where=socket.gethostname(),
            expected=parcel.version,
            got=__version__,
        )
    with tempfile.TemporaryDirectory(prefix="subbyte-") as place:
        folder, model = Path(place, "points"), Path(place, "model")
        _unpack(folder, files)
        _unpack(model, parcel.model)
        task = Task(model / parcel.source, folder, parcel.fit, parcel.held, parcel.options)
        try:
            point = make_point(task, name, silent)
        except SubbyteError as error:
            raise _without_folders(error, folder, model) from error
        return point, (folder / point.file).read_bytes()


def _unpack(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _without_folders(error: SubbyteError, *folders: Path) -> SubbyteError:
    """``error`` with names of files that mean something to the user, not where a worker had
    put them."""
    where = error.where
    for folder in folders if where is not None else ():
        where = str(where).replace(f"{folder}{os.sep}", "")
    return type(error)(
        error.what, where=where, expected=error.expected, got=error.got, hint=error.hint
    )
