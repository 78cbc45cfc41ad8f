"""The ceilings of the CPU, measured in the same run as the kernels: see ceilings.cpp.

They need a C++ compiler ($CXX, else c++) and AVX-512 with VNNI, VBMI and VPOPCNTDQ: without
them there are none, and the record says why.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.native.client import aligned

_SOURCE = Path(__file__).parent / "ceilings.cpp"
_FEATURES = ("f", "bw", "vbmi", "vnni", "vpopcntdq")
# What a step of each loop does.
WORK = {"look_up": 64, "count": 512, "multiply": 64}
ROUNDS = 200_000
READ_BYTES = 256 << 20


@dataclass(frozen=True)
class Ceilings:
    """The compiled loops; ``calls`` is what is timed, ``work`` what one call of each does."""

    calls: dict[str, Callable[[], None]]
    work: dict[str, float]
    missing: str = ""


def ceilings() -> Ceilings:
    """Compile and load the loops."""
    missing = _missing_feature()
    if missing:
        return Ceilings({}, {}, f"the CPU has no {missing}")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "ceilings.so"
        flags = ["-O3", "-std=c++17", "-shared", "-fPIC", *(f"-mavx512{f}" for f in _FEATURES)]
        command = [os.environ.get("CXX", "c++"), *flags, str(_SOURCE), "-o", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            return Ceilings({}, {}, f"no compiler {command[0]}")
        except subprocess.CalledProcessError as error:
            return Ceilings({}, {}, f"{command[0]} failed: {error.stderr.strip()[:200]}")
        library = ctypes.CDLL(str(target))
    library.ceiling_steps.restype = ctypes.c_int64
    steps = int(library.ceiling_steps()) * ROUNDS
    memory = aligned(READ_BYTES)
    memory[:] = 1  # pages that were never written are all one
    calls = {name: _loop(library, name) for name in WORK}
    work = {name: float(each * steps) for name, each in WORK.items()}
    return Ceilings(calls | {"read": _read(library, memory)}, work | {"read": float(READ_BYTES)})


def _missing_feature() -> str:
    """The first feature that this CPU has not, "" if it has all."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "/proc/cpuinfo"
    names = ("avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "avx512_vpopcntdq")
    return next((name for name in names if name not in flags), "")


def _loop(library: ctypes.CDLL, name: str) -> Callable[[], None]:
    function = getattr(library, f"ceiling_{name}")

    def call() -> None:
        function(ctypes.c_int64(ROUNDS))

    return call


def _read(library: ctypes.CDLL, memory: NDArray[np.uint8]) -> Callable[[], None]:
    def call() -> None:
        library.ceiling_read(ctypes.c_void_p(memory.ctypes.data), ctypes.c_int64(READ_BYTES))

    return call
