"""One network: compressed, compared, timed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import subbyte
from benchmarks.packages import child, sides
from benchmarks.packages.inputs import Array, Case, Inputs, Outputs
from subbyte.report.system import system

Record = dict[str, Any]
LIMIT = 1800.0
MOST_TEST = 250


def record(case: Case, options: Sequence[str], limit: float = LIMIT) -> Record:
    """Everything there is to know of a network (the page says what is what)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "small.onnx"
        arguments = [case.source, "-o", target, *_samples(case, folder), *options]
        found = child.compress(arguments, limit)
        files = {"float": case.source}
        if target.exists():
            files |= {"portable": target, "native": target}
            found |= {"bits": subbyte.inspect(target)["bits_per_weight"]}
        found |= _compared(case, files, folder)
        shown = partial(_shown, folders=(folder, case.source.parent))
        found["line"] = shown(found["line"])
        found["missing"] = {side: shown(why) for side, why in found["missing"].items()}
    return {
        "network": case.name,
        "origin": case.origin,
        "samples": {"about": case.inputs.about, **_counts(case.inputs)},
        "options": list(options),
        **found,
        "system": system(),
    }


def _shown(line: str, folders: Sequence[Path]) -> str:
    """A message without the folders of this machine."""
    for folder in folders:
        line = line.replace(f"{folder}/", "")
    return line


def _counts(inputs: Inputs) -> dict[str, int]:
    first = (next(iter(arrays.values())) for arrays in (inputs.calibration, inputs.test))
    return dict(zip(("calibration", "test"), map(len, first), strict=True))


def _samples(case: Case, folder: Path) -> list[str | Path]:
    """Options of the command that give it the samples."""
    path = folder / "calib.npz"
    inputs = case.inputs
    stored = {name: _stored(inputs, name, a) for name, a in inputs.calibration.items()}
    np.savez(path, **stored)  # type: ignore[arg-type]
    given: list[str | Path] = ["--calib", path, "--samples", str(_counts(inputs)["calibration"])]
    for name, array in inputs.fixed.items():
        if array.ndim:
            file = folder / f"{name}.npy"
            np.save(file, array)
            given += ["--set-input", f"{name}={file}"]
        else:
            given += ["--set-input", f"{name}={array.item()}"]
    return given


def _stored(inputs: Inputs, name: str, array: Array) -> Array:
    """Samples along the axis that is the network's batch."""
    return np.moveaxis(array, 0, inputs.axes.get(name, 0))


def _compared(case: Case, files: dict[str, Path], folder: Path) -> Record:
    """Bytes, errors, task and times of all sides there are; why one is missing."""
    fit, test = (case.inputs.feeds(a) for a in (case.inputs.calibration, case.inputs.test))
    test = test[:MOST_TEST]
    missing = {}
    stock, reason = sides.attempt(lambda: sides.stock_int8(case.source, fit, folder))
    files |= {"int8": stock} if stock is not None else {}
    found: dict[str, Outputs] = {}
    opened: dict[str, sides.Side] = {}
    for name, path in files.items():
        engine = "native" if name == "native" else "portable"
        both, why = sides.attempt(partial(_opened, path, engine, test))
        if both is None:
            missing[name] = why
        else:
            opened[name], found[name] = both
    missing |= {"int8": reason} if stock is None else {}
    task = case.inputs.task
    reference = found["float"]
    scores = {name: task.score(values, reference) for name, values in found.items()} if task else {}
    return {
        "bytes": {name: path.stat().st_size for name, path in files.items() if name != "native"},
        "errors": {n: sides.errors(v, reference) for n, v in found.items() if n != "float"},
        "task": {"name": task.name, **scores} if task else None,
        "ms": sides.in_turn(opened, test[0]),
        "missing": missing,
        "load": os.getloadavg()[0],
    }


def _opened(path: Path, engine: str, test: Sequence[sides.Feeds]) -> tuple[sides.Side, Outputs]:
    side = sides.open_side(path, engine)
    return side, sides.outputs(side, test)


def write(path: Path, found: Record) -> None:
    """As JSON, in place of an older one."""
    path.write_text(json.dumps(found, indent=1) + "\n")
