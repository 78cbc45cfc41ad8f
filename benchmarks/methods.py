"""Every method on every network of the data folder; one JSON file per pair.

python -m benchmarks.methods                             whatever has no record yet
python -m benchmarks.methods resnet20 --methods ternary  some, again
python -m benchmarks.methods --keep DIR                  and keep the compressed files
python -m benchmarks.methods --keep DIR --time           only time the kept files again

Each network is compressed through the command line with the method's own defaults (binary:
order 2, without the training it is meant for), on at most 250 samples, so that a table can
show what becomes of any network with any method. `python -m benchmarks.networks` measures
single networks with care.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import subbyte
from benchmarks.networks.__main__ import DATA, network_parser, parse
from benchmarks.networks.catalog import METRICS, NETWORKS, NetworkRow
from benchmarks.networks.datasets import halves
from benchmarks.networks.measure import metric
from benchmarks.networks.record import preprocessing_options, run, without_folders
from subbyte.report.system import system

RESULTS = Path(__file__).parent / "results" / "methods"

# Label -> options of `subbyte compress`.
METHODS = {
    "product": (),
    "scalar": (),
    "ternary": (),
    "composite": (),
    "binary": ("--set", "order=2"),
}
SAMPLES = 250
RUNS = 30


def main() -> int:
    """Measure what the command line asks for."""
    parser = network_parser("methods", __doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--keep", type=Path, help="folder of the compressed files")
    parser.add_argument("--time", action="store_true", help="only time the kept files again")
    arguments = parse(parser)
    if arguments.time and arguments.keep is None:
        parser.error("--time needs the folder that --keep filled")
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.networks or NETWORKS:
            for method in arguments.methods:
                path = RESULTS / f"{name}-{method}.json"
                if arguments.time:
                    _time_again(NETWORKS[name], folder / f"{name}-{method}.onnx", path)
                elif arguments.networks or not path.exists():
                    record = measure(NETWORKS[name], method, folder)
                    _write(path, record)
                    print(f"{path.stem}: {_short(record)}", flush=True)
    return 0


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n")


def _time_again(row: NetworkRow, kept: Path, path: Path) -> None:
    if kept.exists() and path.exists():
        record = json.loads(path.read_text())
        record["latency"] = _latency(DATA / row.model, kept)
        _write(path, record)
        print(f"{path.stem}: {record['latency']}", flush=True)


def measure(row: NetworkRow, method: str, folder: Path) -> dict[str, Any]:
    """Compress, inspect, evaluate natively, and time both engines."""
    split = row.load(DATA, halves)
    source, target = DATA / row.model, folder / f"{row.name}-{method}.onnx"
    np.savez(folder / "calibration.npz", inputs=split.calibration)
    samples = min(SAMPLES, row.samples or len(split.calibration))
    command = [
        *("subbyte", "compress", str(source), "-o", str(target)),
        *("--calib", f"{folder / 'calibration.npz'}:inputs", "--samples", str(samples)),
        *preprocessing_options(row.preprocessing),
        *("--method", method, *METHODS[method]),
    ]
    seconds = run(command)
    return {
        "network": row.name,
        "metric": METRICS[row.task],
        "method": method,
        "command": without_folders(command),
        "seconds": round(seconds, 1),
        "float": {"file_bytes": source.stat().st_size, "metric": metric(row, source, split)},
        "compressed": {
            "file_bytes": target.stat().st_size,
            "bits_per_weight": subbyte.inspect(target).bits_per_weight,
            "metric": metric(row, target, split, engine="native"),
        },
        "latency": _latency(source, target),
        "system": system(),
        "packages": {name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir")},
    }


def _latency(source: Path, target: Path) -> dict[str, Any]:
    """Milliseconds at batch 1 on one thread: the float network, and the file in both engines."""
    timed = subbyte.bench([source, target], runs=RUNS)
    kinds = ("float", *(row.engine for row in timed.models[1:]))
    return {
        kind: {"median_ms": row.median_ms, "iqr_ms": row.iqr_ms}
        for kind, row in zip(kinds, timed.models, strict=True)
    } | {"native_isa": timed.native_isa}


def _short(record: dict[str, Any]) -> str:
    found = record["compressed"]
    return (
        f"{record['metric']} {record['float']['metric']:.2f} -> {found['metric']:.2f} at "
        f"{found['bits_per_weight']:.2f} bits, {record['seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
