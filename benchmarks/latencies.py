"""Plans under a limit of time against single forms of the same time, on this machine.

subbyte calibrate-cpu                                       once, on a quiet machine
python -m benchmarks.latencies --keep DIR                   all networks of `ROWS`
python -m benchmarks.latencies resnet_mid --keep DIR        some

For every network the single forms of `FORMS` (`subbyte compress --group D --gain G`) are coded
and timed on the native kernels; then `subbyte compress --latency` is given the time of each.
All files are timed in turn at the end and judged on test samples (KL against the float network;
for what is no classifier squared error over variance). A form competes with every plan that
takes no longer. DIR keeps the files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import subbyte
from benchmarks.networks.__main__ import DATA
from benchmarks.networks.catalog import NETWORKS, NetworkRow
from benchmarks.networks.datasets import Split, halves
from benchmarks.networks.record import preprocessing_options, run, without_folders
from subbyte.compress.held import Judge
from subbyte.compress.latency import measure_file
from subbyte.compress.pipeline import read_source
from subbyte.data import Samples, as_samples
from subbyte.graph.inputs import read_input_specs
from subbyte.report.system import system

RESULT = Path(__file__).parent / "results" / "latencies.json"
# Those with layers that are faster looked up than multiplied.
ROWS = ("resnet_mid", "mobilenet_v2_100", "yolo_nano_voc", "espnet")
# Group and gain: the fast ones.
FORMS = ((2, 0), (4, 0), (8, 0))
SAMPLES = 128
TEST = 500
TURNS = 5

Record = dict[str, Any]


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latencies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="*", help=f"out of: {', '.join(NETWORKS)}")
    parser.add_argument("--keep", type=Path, required=True, help="folder of all files")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"no data folder at {DATA}: set SUBBYTE_DATA", file=sys.stderr)
        return 2
    for name in arguments.networks or ROWS:
        record = measure(NETWORKS[name], arguments.keep / name)
        held = json.loads(RESULT.read_text()) if RESULT.exists() else []
        held = [other for other in held if other["network"] != name] + [record]
        RESULT.write_text(json.dumps(held, indent=2) + "\n")
        print(f"{name}: {json.dumps(record['files'])}", flush=True)
    return 0


def measure(row: NetworkRow, folder: Path) -> Record:
    """Code, time and judge the single forms and a plan for the time of each."""
    folder.mkdir(parents=True, exist_ok=True)
    split, source = row.load(DATA, halves), DATA / row.model
    np.savez(folder / "calibration.npz", inputs=split.calibration)
    samples = _samples(row, split.calibration)
    commands: list[str] = []
    files: dict[str, Path] = {}
    for group, gain in FORMS:
        form, plan = f"d{group}-g{gain}", f"plan-d{group}-g{gain}"
        options = ["--group", str(group), "--gain", str(gain)]
        commands.append(_compress(row, folder, form, options))
        limit = 1e3 * measure_file(folder / f"{form}.onnx", samples)
        options = ["--methods", "product,scalar", "--latency", f"{limit:.4f}ms"]
        commands.append(_compress(row, folder, plan, options))
        files |= {name: folder / f"{name}.onnx" for name in (form, plan)}
    test = _samples(row, split.test)
    judge = Judge(read_source(source), test.take(min(TEST, len(test)), 1), torch.device("cpu"))
    times = _times(files, samples)
    return {
        "network": row.name,
        "commands": commands,
        "samples": {"calibration": _count(row, split), "judged": len(judge.samples)},
        "files": [
            {
                "name": name,
                "bits": subbyte.inspect(path)["bits_per_weight"],
                "divergence": judge.score(path).divergence,
                "latency_ms": times[name],
            }
            for name, path in files.items()
        ],
        "system": system(),
    }


def _compress(row: NetworkRow, folder: Path, name: str, options: list[str]) -> str:
    """The command as typed. A file that is there is not made again."""
    path = folder / f"{name}.onnx"
    command = [
        *("subbyte", "compress", str(DATA / row.model), "-o", str(path)),
        *("--calib", f"{folder / 'calibration.npz'}:inputs", "--samples", str(SAMPLES)),
        *preprocessing_options(row.preprocessing),
        *options,
    ]
    if not path.exists():
        run(command)
    return without_folders(command)


def _times(files: dict[str, Path], samples: Samples) -> dict[str, float]:
    """Medians over `TURNS` turns of all files, milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(TURNS):
        for name, path in files.items():
            taken[name].append(measure_file(path, samples))
    return {name: round(1e3 * statistics.median(times), 4) for name, times in taken.items()}


def _samples(row: NetworkRow, arrays: Any) -> Samples:
    return as_samples(arrays, read_input_specs(DATA / row.model), row.preprocessing)


def _count(row: NetworkRow, split: Split) -> int:
    return min(SAMPLES, row.samples or len(split.calibration))


if __name__ == "__main__":
    sys.exit(main())
