"""The operators that the native library registers, as it tells them to ONNX Runtime.

python -m tests.native.registered LIBRARY

ONNX Runtime's interface is played by three functions that write the names down. The library
keeps the first interface that it sees: a process that has listed them runs no model.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Places in the tables of native/ort/interface/api.h.
CREATE_DOMAIN, ADD_TO_DOMAIN, ADD_DOMAIN = 26, 27, 28
OPERATOR_NAME = 2
TABLE_SIZE = 300

_NewDomain = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p))
_AddToDomain = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_AddDomain = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_GetName = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p)
_GetApi = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)


def registered_operators(library: Path) -> list[str]:
    """The names, asked for in a process of its own."""
    command = [sys.executable, "-m", "tests.native.registered", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.split()


def _register(library: Path) -> list[str]:
    names: list[str] = []

    @_NewDomain
    def create(name: bytes, domain: ctypes._Pointer[ctypes.c_void_p]) -> None:
        domain[0] = ctypes.c_void_p(1)

    @_AddToDomain
    def add(domain: int, operator: ctypes._Pointer[ctypes.c_void_p]) -> None:
        get_name = _GetName(operator[OPERATOR_NAME])  # type: ignore[arg-type]
        names.append(get_name(ctypes.cast(operator, ctypes.c_void_p).value).decode())

    @_AddDomain
    def finish(options: int, domain: int) -> None:
        return

    table = (ctypes.c_void_p * TABLE_SIZE)()
    for place, function in ((CREATE_DOMAIN, create), (ADD_TO_DOMAIN, add), (ADD_DOMAIN, finish)):
        table[place] = ctypes.cast(function, ctypes.c_void_p)

    @_GetApi
    def get_api(version: int) -> int | None:
        return ctypes.addressof(table)

    base = (ctypes.c_void_p * 2)(ctypes.cast(get_api, ctypes.c_void_p), None)
    register = ctypes.CDLL(str(library)).RegisterCustomOps
    register.restype = ctypes.c_void_p
    if register(None, base) is not None:
        raise RuntimeError(f"{library} registered nothing")
    return names


if __name__ == "__main__":
    print("\n".join(_register(Path(sys.argv[1]))))
