"""Checkpoints of a run: one file a finished piece of work, written whole or not at all.

A work folder belongs to one job: the same network, samples and options. Every file begins
with the SHA-256 of the job's key and its content; files of another job, or damaged ones,
are not used: their work is done again, and they are overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import OutputError
from subbyte.files import RANDOM, sweep, sweep_partial, write_atomic
from subbyte.methods.coded import CodedWeight, WeightShape

DIGEST_BYTES = hashlib.sha256().digest_size

PLAN_FILE = "plan.toml"
SPILL_PREFIX = "activations-"

Arrays = dict[str, NDArray[np.generic]]


def work_folder(output: Path) -> Path:
    """Where a run that writes ``output`` has its checkpoints, unless the user names a folder."""
    return output.with_name(output.name + ".work")


def sweep_spilled(folder: Path) -> None:
    """Remove the files that killed runs have spilled to ``folder``, and no one else's."""
    sweep(folder, SPILL_PREFIX + RANDOM)


class Checkpoints:
    """Named bundles of arrays in ``folder``, valid for the job ``key``."""

    def __init__(self, folder: Path, key: str, keep: bool) -> None:
        self.folder, self._key, self._keep = folder, key, keep
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                "cannot make the work folder", where=str(folder), got=error.strerror
            ) from error

    def save(self, name: str, arrays: Arrays, facts: object = None) -> None:
        """Write ``arrays`` and JSON-able ``facts`` under ``name``."""
        buffer = io.BytesIO()
        entries: dict[str, Any] = {"": np.array(json.dumps(facts)), **arrays}
        np.savez(buffer, **entries)
        payload = buffer.getvalue()
        write_atomic(self._path(name), self._digest(payload) + payload)

    def load(self, name: str) -> tuple[Arrays, Any] | None:
        """The object that `save` wrote under ``name`` for this job; None if nothing (whole) is
        there."""
        path = self._path(name)
        if not path.is_file():
            return None
        data = path.read_bytes()
        digest, payload = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if digest != self._digest(payload):
            return None
        with np.load(io.BytesIO(payload), allow_pickle=False) as file:
            facts = json.loads(str(file[""]))
            return {k: file[k] for k in file.files if k}, facts

    def save_weight(self, name: str, coded: CodedWeight, extra: Arrays) -> None:
        """Write a coded weight and other arrays under ``name``."""
        shape = coded.shape
        facts = {
            "method": coded.method,
            "variant": coded.variant,
            "shape": [shape.outputs, shape.taps, shape.inputs, shape.groups],
            "attributes": dict(coded.attributes),
            "inputs": list(coded.inputs),
        }
        packed = {f"input.{key}": array for key, array in coded.inputs.items()}
        self.save(name, {**packed, **extra}, facts)

    def load_weight(self, name: str) -> tuple[CodedWeight, Arrays] | None:
        """The weight that `save_weight` wrote, or None."""
        found = self.load(name)
        if found is None:
            return None
        arrays, facts = found
        coded = CodedWeight(
            method=facts["method"],
            variant=facts["variant"],
            shape=WeightShape(*facts["shape"]),
            inputs={key: arrays.pop(f"input.{key}") for key in facts["inputs"]},
            attributes=facts["attributes"],
        )
        return coded, arrays

    def done(self) -> None:
        """The run is complete: remove its files, unless the user asked for the folder.

        Only files that runs write are removed; a folder that holds others stays. Files that killed
        runs have spilled go in any case.
        """
        sweep_spilled(self.folder)
        sweep_partial(self.folder)
        if not self._keep:
            for path in [*self.folder.glob("*.checkpoint"), self.folder / PLAN_FILE]:
                path.unlink(missing_ok=True)
        self.drop_if_empty()

    def drop_if_empty(self) -> None:
        """Remove the folder if nothing came of the run, unless the user asked for it by name."""
        if not self._keep:
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _digest(self, payload: bytes) -> bytes:
        return hashlib.sha256(self._key.encode() + payload).digest()

    def _path(self, name: str) -> Path:
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        return self.folder / f"{safe}.checkpoint"


class NoCheckpoints(Checkpoints):
    """Saves nothing, for work that does not go on where it was stopped.

    Values that do not fit into memory are spilled to the system's folder for temporary files.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir())

    def save(self, name: str, arrays: Arrays, facts: object = None) -> None:
        """Save nothing."""

    def load(self, name: str) -> tuple[Arrays, Any] | None:
        """Nothing was saved."""
        return None

    def done(self) -> None:
        """Nothing is to be removed."""

    def drop_if_empty(self) -> None:
        """Nothing is to be removed."""
