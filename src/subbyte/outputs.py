"""Checks that no output of a command takes the place of an input or of another output."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from subbyte.data.arrays import split_reference
from subbyte.errors import OptionError
from subbyte.files import check_writable

File = str | os.PathLike[str]


def check_apart(outputs: Iterable[File | None], inputs: Iterable[File | None]) -> None:
    """Check that every output can be written and is no input and no other output.

    Names and links that lead to the same file are seen. None stands for a file that was not asked
    for.

    Raises:
        OutputError: an output cannot be written.
        OptionError: an output is an input or another output.
    """
    seen: dict[object, str] = {}
    given = [os.fspath(path) for path in inputs if path is not None]
    read = {_identity(path): path for path in given}
    folders = {os.path.realpath(path) for path in given if os.path.isdir(path)}
    for path in outputs:
        if path is None:
            continue
        check_writable(path)
        identity, name = _identity(path), os.fspath(path)
        if identity in read:
            raise OptionError(
                "output would overwrite the input",
                where=name,
                expected="another file name",
                got=read[identity],
            )
        inside = folders & {os.fspath(p) for p in Path(os.path.realpath(name)).parents}
        if inside and os.path.exists(name):
            raise OptionError(
                "output would overwrite a file of the folder of samples",
                where=name,
                expected="another file name",
                got=min(inside),
            )
        if identity in seen:
            raise OptionError(
                "two outputs are one file",
                where=name,
                expected="a file for each",
                got=seen[identity],
            )
        seen[identity] = name


def files_of(references: Iterable[str | None]) -> list[Path]:
    """The files and folders of ``FILE.npz:array``, ``NAME=FILE.npz:array``, ``FILE.py:function``,
    ``module:function`` (from the current folder) and ``FOLDER`` that there are."""
    found = []
    for text in references:
        parts = (text or "").split("=")
        tails = ["=".join(parts[i:]) for i in range(len(parts))]
        paths = [split_reference(tail)[0] for tail in tails if tail]
        paths += [Path(tail) for tail in tails if tail]
        heads = [tail.rpartition(":")[0] for tail in tails]
        paths += [Path(head) for head in heads if head]
        paths += [Path(head.replace(".", "/") + ".py") for head in heads if head]
        found += [path for path in dict.fromkeys(paths) if os.path.exists(path)]
    return found


def _identity(path: File) -> object:
    """Equal for two names of one file, also before there is one."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
