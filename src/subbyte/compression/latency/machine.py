"""The machine on which a network is to be fast: timings of its kernels, and measured files."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

from subbyte.compression.calibration.lookup_work import LEAST_WORK
from subbyte.data import Batch, Samples
from subbyte.runtime import load
from subbyte.runtime.timings import Timings, load_timings

_WARM_UP, _LEAST_RUNS = 3, 3
# Measured until so many blocks in a row have not been faster by so much.
_SETTLED_BLOCKS, _FASTER, _MOST_BLOCKS = 5, 0.01, 50


@dataclass(frozen=True)
class Machine:
    """This machine, on one thread.

    ``least_work``: multiply-adds on one sample from which a layer may be looked up.
    ``rest_seconds``: after heavy work all runs take up to a third longer for a second or two.
    ``block_seconds``: the runs whose median counts take so long together.
    """

    least_work: int = LEAST_WORK
    rest_seconds: float = 3.0
    block_seconds: float = 0.1

    def timings(self, path: str | os.PathLike[str] | None) -> Timings:
        """The timings of the kernels, as `load_timings` reads them."""
        return load_timings(path)

    def rest(self) -> None:
        """Wait between heavy work, as coding and pricing are, and the first measurement."""
        time.sleep(self.rest_seconds)

    def measure_models(self, models: Iterable[onnx.ModelProto], samples: Samples) -> list[float]:
        """`measure_files` of ``models``, which are taken one at a time, as they may be large."""
        paths: list[Path] = []
        with tempfile.TemporaryDirectory() as folder:
            for model in models:
                paths.append(Path(folder) / f"blank-{len(paths)}.onnx")
                paths[-1].write_bytes(model.SerializeToString())
            return self.measure_files(paths, samples)

    def measure_files(self, paths: Sequence[Path], samples: Samples) -> list[float]:
        """Seconds of one sample through each file on the native kernels.

        The median of the runs of a block, the least of blocks until none gets faster (`settled`).

        The time is CPU time. On a machine that does nothing else it equals the clock's. Other work
        does not count, but for its effect on caches and clock rates.
        """
        batch: Batch = next(iter(samples.first(1).batches(1)))
        sessions = [load(path, engine="native", threads=1).session for path in paths]
        for session in sessions:
            for _ in range(_WARM_UP):
                session.run(None, batch)
        return settled(lambda: [self._block(session, batch) for session in sessions])

    def _block(self, session: onnxruntime.InferenceSession, batch: Batch) -> float:
        """The median seconds of `block_seconds` of runs, but at least of `_LEAST_RUNS`."""
        times: list[float] = []
        started = time.perf_counter()
        while len(times) < _LEAST_RUNS or time.perf_counter() - started < self.block_seconds:
            before = time.process_time()
            session.run(None, batch)
            times.append(time.process_time() - before)
        return statistics.median(times)


THIS_MACHINE = Machine()


def settled(turn: Callable[[], list[float]]) -> list[float]:
    """The least seconds of each file over turns of all files, until none gets faster.

    A ``turn`` gives the seconds of a block of every file: anything that slows the machine for a
    while slows all of them.
    """
    least, since = turn(), 0
    for _ in range(_MOST_BLOCKS - 1):
        taken = turn()
        faster = any(now < (1 - _FASTER) * old for now, old in zip(taken, least, strict=True))
        since = 0 if faster else since + 1
        least = [min(now, old) for now, old in zip(taken, least, strict=True)]
        if since == _SETTLED_BLOCKS:
            break
    return least
