"""Where the native library is: kernels, and ONNX Runtime operators that call them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from importlib import metadata
from pathlib import Path

from subbyte.errors import MissingDependencyError, OptionError

_NAMES = {"win32": "subbyte_native.dll", "darwin": "libsubbyte_native.dylib"}

# Chooses the instruction set of the kernels; read by the library itself.
ISA_VARIABLE = "SUBBYTE_ISA"


def library_path() -> Path:
    """The native library, for ``SessionOptions.register_custom_ops_library`` (or its like in
    other languages).

    Raises:
        MissingDependencyError: a package that was built without it.
    """
    path = find_library()
    if path is None:
        raise MissingDependencyError(
            "the native library is not installed",
            where=str(_folder()),
            expected="a package built with a C++17 compiler (pip install subbyte)",
            got="no " + _name(),
        )
    return path


def find_library() -> Path | None:
    """The native library, or None where the package has none."""
    candidates = [_folder() / _name()]
    with contextlib.suppress(metadata.PackageNotFoundError):
        # An editable install keeps its build apart from the sources.
        installed = metadata.distribution("subbyte").locate_file(f"subbyte/native/{_name()}")
        candidates.append(Path(str(installed)))
    return next((path for path in candidates if path.is_file()), None)


def native_isa() -> str:
    """The instruction set that the kernels of this process use: avx512, avx2, portable ...

    Raises:
        MissingDependencyError: no library, or one that cannot be loaded.
        OptionError: ``SUBBYTE_ISA`` names a level that this CPU or build does not have.
    """
    return isa_of(open_library())


def open_library(path: Path | None = None) -> ctypes.CDLL:
    """The native library at ``path``, or the installed one.

    Raises:
        MissingDependencyError: no library, or one that cannot be loaded.
    """
    path = path or library_path()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(
            "cannot load the native library", where=str(path), got=str(error)
        ) from error


def isa_of(library: ctypes.CDLL) -> str:
    """`native_isa` of a loaded library.

    Raises:
        OptionError: ``SUBBYTE_ISA`` names a level that this CPU or build does not have.
    """
    library.subbyte_isa.restype = ctypes.c_char_p
    library.subbyte_error.restype = ctypes.c_char_p
    name = library.subbyte_isa()
    if name is None:
        raise OptionError(
            library.subbyte_error().decode(), where=ISA_VARIABLE, got=os.environ.get(ISA_VARIABLE)
        )
    return str(name.decode())


def _name() -> str:
    return _NAMES.get(sys.platform, "libsubbyte_native.so")


def _folder() -> Path:
    return Path(__file__).resolve().parents[1] / "native"
