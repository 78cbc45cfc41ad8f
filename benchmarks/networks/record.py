"""One measured run: compress through the command line, evaluate both networks, keep it all."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.networks.catalog import METRICS, NetworkRow
from benchmarks.networks.datasets import Split, halves
from benchmarks.networks.measure import metric
from subbyte.data import Preprocessing
from subbyte.report.system import system

RESULTS = Path(__file__).parents[1] / "results" / "networks"
# Kept beside what `system` lists: what compression was made with.
_PACKAGES = ("torch", "onnx", "onnx-ir")


@dataclass(frozen=True)
class Setting:
    """How a network is compressed: bits per weight, further options, calibration samples."""

    bits: float
    options: tuple[str, ...] = ()
    samples: int | None = None

    def label(self) -> str:
        """Part of the record's file name: bits, samples and options in short."""
        samples = () if self.samples is None else (f"n{self.samples}",)
        words = (option.lstrip("-") for option in self.options)
        return "-".join([f"{self.bits:g}", *samples, *words])


def measure(row: NetworkRow, setting: Setting, data: Path, folder: Path) -> dict[str, Any]:
    """Compress and evaluate one network; the record says how and where it was measured.

    Files are made in ``folder``: the samples, the compressed network, reports.
    """
    split = row.load(data, halves)
    source, target = data / row.model, folder / f"{row.name}-{setting.label()}.onnx"
    samples = setting.samples or row.samples or len(split.calibration)
    np.savez(folder / "calibration.npz", inputs=split.calibration)
    command = [
        *("subbyte", "compress", str(source), "-o", str(target)),
        *("--calib", f"{folder / 'calibration.npz'}:inputs", "--samples", str(samples)),
        *preprocessing_options(row.preprocessing),
        *("--bits", f"{setting.bits:g}", *setting.options),
    ]
    seconds = run(command)
    return {
        "id": f"{row.name}-{setting.label()}",
        "network": row.name,
        "task": row.task,
        "metric": METRICS[row.task],
        "bits": setting.bits,
        "options": list(setting.options),
        "command": without_folders(command),
        "seconds": round(seconds, 1),
        "calibration": {"samples": samples, "source": row.calibrated_on},
        "test": {"samples": len(split.test), "source": row.tested_on},
        "float": {"file_bytes": source.stat().st_size}
        | _evaluate(row, source, None, split, folder),
        "compressed": _inspect(target, folder) | _evaluate(row, target, source, split, folder),
        "system": system() | {"threads": _threads()},
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }


def run(command: list[str]) -> float:
    """Seconds that a command line takes; its own messages go through to the terminal.

    Raises:
        SystemExit: the command failed.
    """
    start = time.perf_counter()
    status = subprocess.run(program(command), check=False).returncode
    if status != 0:
        raise SystemExit(f"{shlex.join(command)}: exit status {status}")
    return time.perf_counter() - start


def program(command: list[str]) -> list[str]:
    """The command line with the program that is installed beside this Python."""
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def preprocessing_options(preprocessing: Preprocessing) -> list[str]:
    """The command line's form of a preprocessing, what is left at its default not named."""
    options = []
    if preprocessing.scale is not None:
        options += ["--input-scale", f"{preprocessing.scale:g}"]
    for name, values in (("--mean", preprocessing.mean), ("--std", preprocessing.std)):
        if values:
            options += [name, ",".join(repr(value) for value in values)]
    if preprocessing.layout is not None:
        options += ["--layout", preprocessing.layout]
    return options


def _inspect(model: Path, folder: Path) -> dict[str, Any]:
    report = _report(["inspect", str(model)], folder / "inspect.json")
    return {key: report[key] for key in ("file_bytes", "weight_count", "bits_per_weight")}


def _evaluate(
    row: NetworkRow, model: Path, reference: Path | None, split: Split, folder: Path
) -> dict[str, float]:
    """The metric, and for a classifier whatever else `subbyte eval` says."""
    if row.task != "classification":
        return {"metric": metric(row, model, split)}
    np.savez(folder / "test.npz", inputs=split.test, labels=split.targets)
    arguments = ["eval", str(model), "--data", f"{folder / 'test.npz'}:inputs"]
    arguments += ["--labels", f"{folder / 'test.npz'}:labels", "--engine", "portable"]
    arguments += preprocessing_options(row.preprocessing)
    if reference is not None:
        arguments += ["--float-network", str(reference)]
    report = _report(arguments, folder / "eval.json")
    names = ("top5", "balanced_accuracy", "agreement", "kl")
    return {"metric": report["top1"]} | {name: report[name] for name in names if name in report}


def _report(arguments: list[str], path: Path) -> dict[str, Any]:
    run(["subbyte", *arguments, "--json", str(path)])
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _threads() -> int | None:
    """Threads that torch and ONNX Runtime take unless told otherwise."""
    return int(os.environ["OMP_NUM_THREADS"]) if "OMP_NUM_THREADS" in os.environ else os.cpu_count()


def without_folders(command: list[str]) -> str:
    """The command line as one would type it where the files lie."""
    return shlex.join(Path(word).name if "/" in word else word for word in command)
