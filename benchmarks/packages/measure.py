"""One network: compressed, compared, timed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
TARGET, INT8, CALIBRATION = "small.onnx", "ort-int8.onnx", "calibration"


def record(case: Case, options: Sequence[str], folder: Path, limit: float = LIMIT) -> Record:
    """Everything there is to know of a network (the page says what is what).

    The samples, the compressed file and ONNX Runtime's int8 are left in ``folder``. A network that
    was compressed there with the same options is not compressed again, only compared and timed.
    """
    case = _kept_samples(case, folder)
    target = folder / TARGET
    found = _compressed(case, options, folder, limit)
    files = {"float": case.source}
    if target.exists():
        files |= {"portable": target, "native": target}
        found |= {"bits": subbyte.inspect(target).bits_per_weight}
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


def timed_again(case: Case, found: Record, folder: Path) -> Record:
    """``found`` with the times of the files that `record` left in ``folder``, taken now.

    Raises `FileNotFoundError` where they are not there.
    """
    case = _kept_samples(case, folder)
    first = case.inputs.feeds(case.inputs.test)[0]
    files = {"float": case.source, "int8": folder / INT8}
    files |= dict.fromkeys(("portable", "native"), folder / TARGET)
    opened = {side: sides.open_side(files[side], _engine(side)) for side in found["ms"]}
    return found | {
        "ms": sides.in_turn(opened, first),
        "load": os.getloadavg()[0],
        "system": system(),
    }


def _compressed(case: Case, options: Sequence[str], folder: Path, limit: float) -> Record:
    """What came of the command, from the folder where it has run with these options before."""
    said = folder / "compress.json"
    if said.exists():
        kept: Record = json.loads(said.read_text())
        if kept.pop("options") == list(options):
            return kept
    (folder / TARGET).unlink(missing_ok=True)
    arguments = [case.source, "-o", folder / TARGET, *_samples(case, folder), *options]
    found = child.compress(arguments, limit) | {"load_compress": os.getloadavg()[0]}
    write(said, found | {"options": list(options)})
    return found


def _kept_samples(case: Case, folder: Path) -> Case:
    """The case with the samples of the folder; they are put there first if it has none."""
    inputs = case.inputs

    def kept(part: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
        path = folder / f"{part}.npz"
        if not path.exists():
            stored = {name: _stored(inputs, name, array) for name, array in arrays.items()}
            np.savez(path, **stored)  # type: ignore[arg-type]
        with np.load(path) as z:
            return {name: np.moveaxis(z[name], inputs.axes.get(name, 0), 0) for name in z.files}

    calibration, test = kept(CALIBRATION, inputs.calibration), kept("test", inputs.test)
    return replace(case, inputs=replace(inputs, calibration=calibration, test=test))


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
    inputs = case.inputs
    path, count = folder / f"{CALIBRATION}.npz", str(_counts(inputs)["calibration"])
    given: list[str | Path] = ["--calib", path, "--samples", count]
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
        both, why = sides.attempt(partial(_opened, path, _engine(name), test))
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


def _engine(side: str) -> str:
    return "native" if side == "native" else "portable"


def _opened(path: Path, engine: str, test: Sequence[sides.Feeds]) -> tuple[sides.Side, Outputs]:
    side = sides.open_side(path, engine)
    return side, sides.outputs(side, test)


def write(path: Path, found: Record) -> None:
    """As JSON, in place of an older one."""
    path.write_text(json.dumps(found, indent=1) + "\n")
