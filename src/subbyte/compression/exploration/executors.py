"""Where the points of an exploration are made: in this process, in several, on a Ray cluster."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Literal

import torch

from subbyte.compression.exploration import ray_cluster
from subbyte.compression.exploration.points import Task, make_point
from subbyte.compression.exploration.points_file import Point
from subbyte.errors import OutputError
from subbyte.progress import Progress, silent

Executor = Literal["processes", "ray"]
EXECUTORS: tuple[Executor, ...] = ("processes", "ray")

Run = Callable[[Task, Sequence[str], Progress], Iterator[Point]]
"""run(task, names, progress): the points of these names, in the order they are finished."""


@contextmanager
def open_executor(kind: Executor, jobs: int | None, address: str | None) -> Iterator[Run]:
    """The executor that makes points, ``jobs`` at a time; ``address``: of the Ray cluster.

    Raises:
        MissingDependencyError: no ray.
        OptionError: no cluster at the address.
    """
    if kind == "ray":
        with ray_cluster.connected(address, jobs):
            yield partial(ray_cluster.run, jobs)
    else:
        yield partial(_run, jobs or 1)


def _run(jobs: int, task: Task, names: Sequence[str], progress: Progress) -> Iterator[Point]:
    if jobs == 1:
        for name in names:
            yield make_point(task, name, progress)
        return
    context, others = get_context("spawn"), active_children()
    with futures.ProcessPoolExecutor(jobs, context, _start, (task, jobs)) as pool:
        try:
            waiting = [pool.submit(_work, name) for name in names]
            for future in futures.as_completed(waiting):
                yield future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():
                if child not in others:
                    child.terminate()
                    # Its point is nobody's then.
                    child.join()
            if isinstance(error, BrokenProcessPool):
                raise OutputError(
                    "a process of `jobs` was killed; the same command goes on with the rest",
                    expected="enough memory for all of them, or fewer `jobs`",
                ) from error
            raise


# Of a worker.
_task: Task


def _start(task: Task, jobs: int) -> None:
    """Set a worker up. An interrupt is the parent's to handle."""
    global _task
    _task = task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs))


def _end_with(parent: int) -> None:
    """A parent that was killed leaves nobody to take results, and may be run again."""
    connection.wait([parent])
    os._exit(1)


def _work(name: str) -> Point:
    return make_point(_task, name, silent)
