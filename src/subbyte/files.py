"""Files are written whole or not at all, and the leavings of killed runs are removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from subbyte.errors import OutputError

RANDOM = "?" * 8
"""The random part of a name that `tempfile` makes, as a pattern."""
_ENDING = ".partial"


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if a file can be made there; else raise `OutputError`. Folders, devices,
    pipes and sockets are never replaced; a link stays one.

    Called before long work starts, so that a bad output name costs seconds, not hours.
    Temporary files of ``path`` that killed runs have left are removed.
    """
    target = _place(path)
    folder = target.parent
    if not os.path.isdir(folder):
        raise OutputError("output folder does not exist", where=str(folder))
    sweep_partial(folder, target.name)
    try:
        handle, probe = _open_partial(target)
    except OSError as error:
        named = error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
        what = "output cannot have this name" if named else "output folder is not writable"
        where = str(target) if named else str(folder)
        raise OutputError(what, where=where, got=error.strerror) from error
    os.unlink(probe)
    os.close(handle)
    return Path(path)


def read_regular(path: Path) -> bytes:
    """The bytes of a file; `OSError` for a pipe, a socket or a device, which might never end."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return path.read_bytes()


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, then rename it over ``path``.

    On any failure (disk full, no access) the temporary file is removed, an older file at ``path``
    is untouched, and `OutputError` is raised. Temporary files of ``path`` that killed runs have
    left are removed.
    """
    with pending(path, data):
        pass


@contextlib.contextmanager
def pending(path: str | os.PathLike[str], data: bytes) -> Iterator[Path]:
    """`write_atomic` in two steps.

    Within the block the temporary file is whole and can be tried; behind the block it takes the
    name ``path``. If the block raises, the file is removed. Where ``path`` is a link, the file
    takes the place of the link's target.
    """
    target = _place(path)
    with _named(target):
        sweep_partial(target.parent, target.name)
        handle, name = _open_partial(target)
    temporary = Path(name)
    try:
        with _named(target), os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
            os.fchmod(handle, 0o666 & ~_umask())
        yield temporary
        with _named(target):
            # Still open, and so still locked: nobody takes it for one that was left.
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _place(path: str | os.PathLike[str]) -> Path:
    """Where the file of this name is or will be: the target of a link."""
    # `Path.is_dir` and its kind raise where a name is too long for the file system.
    target = Path(path)
    real = Path(os.path.realpath(target)) if os.path.islink(target) else target
    if os.path.islink(real):
        raise OutputError("output is a link to itself", where=str(target), expected="a file name")
    if os.path.isdir(real):
        raise OutputError("output is a folder", where=str(target), expected="a file name")
    if os.path.exists(real) and not os.path.isfile(real):
        kinds = {"a pipe": real.is_fifo(), "a socket": real.is_socket()}
        got = next((name for name, found in kinds.items() if found), "a device")
        raise OutputError(
            "output is no regular file", where=str(target), expected="a file name", got=got
        )
    return real


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """Every failure with files within the block becomes an `OutputError` about ``target``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            "cannot write output", where=str(target), got=error.strerror or str(error)
        ) from error


def hold(path: str | os.PathLike[str]) -> int:
    """Open a file or folder and lock it, so that `sweep` leaves it alone until it is closed;
    the kernel closes it when the process ends, however that comes."""
    handle = os.open(path, os.O_RDONLY)
    _lock(handle)
    return handle


def sweep(folder: Path, pattern: str) -> None:
    """Remove the files and folders of this pattern that no process holds."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(handle)


def sweep_partial(folder: Path, name: str | None = None) -> None:
    """`sweep` the temporary files that `write_atomic` made: for the file ``name``, or all."""
    stem = "*" if name is None else glob.escape(name)
    sweep(folder, f".{stem}-{RANDOM}{_ENDING}")


def _open_partial(target: Path) -> tuple[int, str]:
    """A new, held file beside ``target``: its handle and its name."""
    while True:
        handle, name = tempfile.mkstemp(_ENDING, f".{target.name}-", target.parent)
        _lock(handle)
        # Another process may have taken it for one that was left, before it was locked.
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


def _lock(handle: int) -> None:
    # Where a file system has no locks nothing is held, and nothing is swept.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
