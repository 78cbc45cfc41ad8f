"""ResNet-18's shape on one and on two threads, each side in a process of its own.

python -m benchmarks.threads [--runs N] [--rounds N]

In one process the idle threads of other runtimes' pools spin and take the second core, so
`benchmarks.whole_networks` measures one thread only. Here a fresh process makes one side,
runs it and ends; sides take turns, round by round, and the median over all rounds counts.
Files as there, and so is `engines`, how closely native and portable outputs agree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import subbyte
from benchmarks.whole_networks import shaped
from subbyte.report.peers import Source, make_peer
from subbyte.report.system import system

RESULTS = Path(__file__).parent / "results" / "threads.json"
NETWORK = "ResNet-18"
FILES = ("d=8", "d=4", "d=4, 2-bit gain")
PEERS = ("onnxruntime-int8", "openvino-int8")
THREADS = (1, 2)
SHAPE = (1, 3, 224, 224)
WARM_UP = 10


def main() -> None:
    """Measure, print and write the record; or be one side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        times = measure_side(arguments.side, arguments.file, arguments.threads, arguments.runs)
        print(json.dumps(times))
        return
    record = measure(arguments.runs, arguments.rounds)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


def measure(runs: int, rounds: int) -> dict[str, Any]:
    """Every side in turn, ``rounds`` times."""
    with tempfile.TemporaryDirectory() as folder:
        original, files, facts = shaped(NETWORK, Path(folder))
        sides = [("native", label, files[label]) for label in FILES]
        sides += [(peer, "float", original) for peer in PEERS]
        times: dict[tuple[str, str, int], list[float]] = {}
        for _ in range(rounds):
            for side, label, path in sides:
                for threads in THREADS:
                    found = _in_a_process(side, path, threads, runs)
                    times.setdefault((side, label, threads), []).extend(found)
    rows = [
        {"side": side, "file": label, "threads": threads, **_summary(found)}
        for (side, label, threads), found in times.items()
    ]
    for row in rows:
        print(f"{row['side']} {row['file']}, {row['threads']} thread(s): {row['median_ms']:.2f} ms")
    facts |= {"network": NETWORK, "runs": runs, "rounds": rounds}
    return facts | {"isa": subbyte.runtime.native_isa(), "rows": rows, "system": system()}


def _summary(times: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times, n=4)
    return {"median_ms": median, "iqr_ms": high - low}


def _in_a_process(side: str, path: Path, threads: int, runs: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.threads", "--side", side, "--file", str(path)]
    command += ["--threads", str(threads), "--runs", str(runs)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{side}: {done.stderr}")
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_side(side: str, path: Path, threads: int, runs: int) -> list[float]:
    """Milliseconds of every run after the warm-up."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE).astype(np.float32)
    if side == "native":
        model = subbyte.load(path, engine="native", threads=threads)
        return _timed(partial(model.run, x), runs)
    name = subbyte.load(path, engine="portable").inputs[0].name
    samples = [{name: rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        bind = make_peer(side, Source(path, samples, threads, Path(folder)))
        return _timed(bind({name: x}), runs)


def _timed(call: Any, runs: int) -> list[float]:
    times = []
    for turn in range(-WARM_UP, runs):
        before = time.perf_counter()
        call()
        if turn >= 0:
            times.append(1e3 * (time.perf_counter() - before))
    return times


if __name__ == "__main__":
    main()
