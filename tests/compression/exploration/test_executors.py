"""Points in several processes: what happens to these when one fails."""

from __future__ import annotations

import signal
import time
from concurrent import futures
from concurrent.futures import Future
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.exploration.executors import open_executor
from subbyte.compression.exploration.points import Task
from subbyte.errors import OptionError
from subbyte.progress import silent
from tests import tiny
from tests.compression.nets import samples_for, smooth_images


def sleeping() -> SpawnProcess:
    process = get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    process.start()
    return process


def test_an_error_ends_the_processes_of_the_run_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own: list[SpawnProcess] = []

    class Pool:
        def __init__(self, *arguments: object) -> None:
            own.append(sleeping())

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def submit(self, *arguments: object) -> Future[Any]:
            failed: Future[Any] = Future()
            failed.set_exception(OptionError("what is wrong with a point"))
            return failed

        def shutdown(self, wait: bool, cancel_futures: bool) -> None:
            assert (wait, cancel_futures) == (False, True)

    other = sleeping()
    monkeypatch.setattr(futures, "ProcessPoolExecutor", Pool)
    samples = samples_for(tiny.classifier(), smooth_images(8, size=tiny.SIZE))
    task = Task(tmp_path / "net.onnx", tmp_path, samples, samples, CompressOptions())
    with (
        open_executor("processes", 2, None) as run,
        pytest.raises(OptionError, match="what is wrong with a point"),
    ):
        list(run(task, ["bits-2.000"], silent))
    own[0].join()
    assert own[0].exitcode == -signal.SIGTERM
    assert other.is_alive()
    other.kill()
    other.join()
