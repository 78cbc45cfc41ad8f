"""Bytes of files for magika: those of this repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from benchmarks.packages.inputs import Array, Inputs, alternate, labels_alike

ROOT = Path(__file__).parents[2]
END, BLOCK, PADDING = 1024, 4096, 256


def files(data: Path, source: Path) -> Inputs:
    """The first and the last 1,024 bytes of every file of the repository, without white space."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
    ).stdout.split(b"\0")
    # In the order of their names' ends, so that both halves have files of every kind.
    paths = sorted((ROOT / name.decode() for name in listed if name), key=lambda p: p.name[::-1])
    found = np.stack([ends(p.read_bytes()) for p in paths if p.is_file() and p.stat().st_size > 16])
    fit, test = alternate(found, "bytes")
    about = "the files of this repository, as their first and last 1,024 bytes"
    return Inputs(about, fit, test, labels_alike())


def ends(content: bytes) -> Array:
    """int32 [2048], as the package makes it: 256 where a file is shorter."""
    first, last = content[:BLOCK].lstrip()[:END], content[-BLOCK:].rstrip()[-END:]
    found = np.full(2 * END, PADDING, np.int32)
    found[: len(first)] = np.frombuffer(first, np.uint8)
    found[2 * END - len(last) :] = np.frombuffer(last, np.uint8)
    return found
