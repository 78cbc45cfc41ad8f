"""`subbyte compress --max-drop 0.5` on the classifiers, judged on test samples it never saw.

python -m benchmarks.keep                    classifiers that have no record yet
python -m benchmarks.keep resnet8 dscnn      some, again
python -m benchmarks.keep densenet40 --samples 250    from fewer samples, where coding takes long

A network that cannot be vouched for is an error of the command; the record has its message.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import subbyte
from benchmarks.networks.__main__ import DATA, network_parser, parse
from benchmarks.networks.catalog import NETWORKS, NetworkRow
from benchmarks.networks.datasets import halves
from benchmarks.networks.measure import metric
from benchmarks.networks.record import preprocessing_options, program, without_folders
from benchmarks.records import Record
from subbyte.report.system import system

RESULT = Path(__file__).parent / "results" / "keep.json"
MAX_DROP = "0.5"
# The exit status, and how the error begins, where the network cannot be vouched for.
STATUS, REFUSAL = 2, "error: --max-drop out of reach"


def main() -> int:
    """Measure what the command line asks for."""
    classifiers = [name for name, row in NETWORKS.items() if row.task == "classification"]
    parser = network_parser("keep", __doc__, classifiers)
    parser.add_argument("--samples", type=int, default=1000, help="calibration samples at most")
    arguments = parse(parser, classifiers)
    held = {r["network"]: r for r in json.loads(RESULT.read_text())} if RESULT.exists() else {}
    for name in arguments.networks or [name for name in classifiers if name not in held]:
        with tempfile.TemporaryDirectory() as folder:
            held[name] = measure(NETWORKS[name], Path(folder), arguments.samples)
        records = [held[known] for known in classifiers if known in held]
        RESULT.write_text(json.dumps(records, indent=2) + "\n")
        print(f"{name}: {held[name]['said'] or held[name]['compressed']}", flush=True)
    return 0


def measure(row: NetworkRow, folder: Path, most: int) -> Record:
    """One run of the command, and what its file does on the test samples."""
    split = row.load(DATA, halves)
    source, target = DATA / row.model, folder / "small.onnx"
    np.savez(folder / "calibration.npz", inputs=split.calibration)
    samples = min(most, row.samples or len(split.calibration))
    command = [
        *("subbyte", "compress", str(source), "-o", str(target)),
        *("--calib", f"{folder / 'calibration.npz'}:inputs", "--samples", str(samples)),
        *preprocessing_options(row.preprocessing),
        *("--max-drop", MAX_DROP),
    ]
    start = time.perf_counter()
    done = subprocess.run(program(command), check=False, stderr=subprocess.PIPE, text=True)
    record: Record = {
        "network": row.name,
        "command": without_folders(command),
        "seconds": round(time.perf_counter() - start, 1),
        "samples": {"calibration": samples, "test": len(split.test)},
        "float": metric(row, source, split),
        "compressed": None,
        "said": refusal(done),
        "system": system(),
    }
    if record["said"]:
        return record
    return record | {
        "compressed": {
            "bits": subbyte.inspect(target).bits_per_weight,
            "file_bytes": target.stat().st_size,
            "metric": metric(row, target, split, engine="native"),
        }
    }


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Why the command cannot vouch for the network, "" if it can.

    Raises:
        SystemExit: it failed for another reason.
    """
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode != STATUS or not said.startswith(REFUSAL):
        raise SystemExit(f"exit status {done.returncode}\n{done.stderr}")
    return said


if __name__ == "__main__":
    sys.exit(main())
