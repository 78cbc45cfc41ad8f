"""The float network, ONNX Runtime's int8 and the compressed file: how near, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.packages.inputs import Array, Outputs
from subbyte.errors import SubbyteError, reason
from subbyte.report.peers.source import Source
from subbyte.report.peers.stock import quantized
from subbyte.runtime import load

Feeds = Mapping[str, Array]
Side = Callable[[Feeds], list[Array]]
WARM_UP, ROUNDS, LONGEST = 2, 40, 20.0
CALIBRATION = 64
"""Samples at most for ONNX Runtime's calibration, which keeps all values of all samples."""


def open_side(path: Path, engine: str) -> Side:
    """A file in an engine, on one thread. Raises `SubbyteError`."""
    session = load(path, engine=engine, threads=1).session  # type: ignore[arg-type]
    return lambda feeds: list(session.run(None, dict(feeds)))


def stock_int8(source: Path, samples: Sequence[Feeds], folder: Path) -> Path:
    """ONNX Runtime's own int8 of the network. Raises `PeerError`."""
    return quantized(Source(source, samples[:CALIBRATION], 1, folder))


def outputs(side: Side, feeds: Sequence[Feeds]) -> Outputs:
    """Of every sample the outputs."""
    return [side(each) for each in feeds]


def errors(found: Outputs, reference: Outputs) -> list[float]:
    """Mean squared error over the variance, per output, over all samples together.

    Samples whose outputs differ in shape from float's make it infinite.
    """
    result = []
    for place in range(len(reference[0])):
        ours, theirs = (
            [np.asarray(sample[place]) for sample in side] for side in (found, reference)
        )
        if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
            result.append(float("inf"))
            continue
        a, b = (
            np.concatenate([x.ravel() for x in side]).astype(np.float64) for side in (ours, theirs)
        )
        spread = float(b.var() or np.mean(b**2) or 1)
        result.append(float(np.mean((a - b) ** 2)) / spread)
    return result


def in_turn(sides: Mapping[str, Side], feeds: Feeds) -> dict[str, float]:
    """Median milliseconds at batch 1 of each side, one run of each in turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    end = time.monotonic() + LONGEST
    for turn in range(-WARM_UP, ROUNDS):
        for name, side in sides.items():
            start = time.perf_counter()
            side(feeds)
            if turn >= 0:
                times[name].append(time.perf_counter() - start)
        if turn >= 4 and time.monotonic() > end:
            break
    return {name: 1000 * float(np.median(found)) for name, found in times.items()}


def attempt(make: Callable[[], Any]) -> tuple[Any, str]:
    """What ``make`` gives, or None and what the error says, on one line."""
    try:
        return make(), ""
    except SubbyteError as error:
        return None, str(error)
    except Exception as error:  # ONNX Runtime's errors have no base class
        return None, f"{type(error).__name__}: {reason(error)}"
