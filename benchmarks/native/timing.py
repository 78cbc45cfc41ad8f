"""Timing of what the native benchmark compares: in turn, as process CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# One measurement lasts at least this long, in seconds.
LEAST = 0.01


def timed(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Process CPU seconds of one call of each side, in turn, ``rounds`` times."""
    calls = {}
    for name, side in sides.items():
        side()
        calls[name] = max(1, int(LEAST / _seconds(side, 1)))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(_seconds(side, calls[name]))
    return times


def figures(seconds: Sequence[float], copies: int, work: float) -> dict[str, Any]:
    """Median and quartiles in microseconds of one of ``copies`` layers that a call computes.

    ``gmacs`` is 10^9 multiply-adds (or what ``work`` counts a layer) a second.
    """
    quartiles = np.quantile(seconds, [0.25, 0.5, 0.75]) * 1e6 / copies
    low, median, high = (round(float(us), 2) for us in quartiles)
    return {
        "median_us": median,
        "quartiles_us": [low, high],
        "gmacs": round(work / median / 1e3, 1),
    }


def in_turn(calls: Sequence[Callable[[], Any]]) -> Callable[[], None]:
    """All calls, one after the other."""

    def run() -> None:
        for call in calls:
            call()

    return run


def _seconds(side: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        side()
    return max(time.process_time() - start, 1e-6) / calls
