"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from subbyte.errors import OutputError


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if a file can be made there; else raise `OutputError`.

    Called before long work starts, so that a bad output name costs seconds, not hours.
    """
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise OutputError("output is a folder", where=str(target), expected="a file name")
    if not folder.is_dir():
        raise OutputError("output folder does not exist", where=str(folder))
    try:
        handle, probe = tempfile.mkstemp(prefix=".subbyte-", dir=folder)
    except OSError as error:
        raise OutputError(
            "output folder is not writable", where=str(folder), got=error.strerror
        ) from error
    os.close(handle)
    os.unlink(probe)
    return target


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, then rename it over ``path``.

    On any failure (disk full, no access) the temporary file is removed, whatever stood
    at ``path`` is untouched, and `OutputError` is raised.
    """
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise OutputError(
            "cannot write output", where=str(target), got=error.strerror or str(error)
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
