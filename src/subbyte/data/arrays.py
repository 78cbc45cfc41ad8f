"""Reading arrays from ``.npz`` and ``.npy`` files, without pickles and without surprises.

Headers are read first, so names, shapes and dtypes are known (and checked against the
bytes that are really there) before any memory is taken for an array.
"""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from subbyte.data.image_folder import SUFFIXES
from subbyte.errors import CalibrationError, reason
from subbyte.file_kinds import ARRAYS, KERAS, PYTORCH, foreign

# An npy header is a Python literal: a damaged one may fail in the tokenizer or the parser.
_BROKEN_FILE = (
    *(ValueError, EOFError, OSError, RuntimeError, TypeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
_NPY_MAGIC = b"\x93NUMPY"
_NUMERIC_KINDS = "biuf"


@dataclass(frozen=True)
class ArrayHeader:
    """Shape and dtype of a stored array, and the bytes that its data take."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of data that the header promises."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(map(str, self.shape))}]"


def split_reference(reference: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split ``FILE.npz[:array]`` into the path and the array's name (None if not given).

    Both may hold colons themselves (``x.npz:serving_default_x:0``). The files that exist, and the
    arrays that they hold, decide where to split. A reference that exists as a file, colon and all,
    is that file.
    """
    # Numbers of --set-input come here too: `Path.exists` raises where they are no file's name.
    text = os.fspath(reference)
    whole = Path(text)
    if os.path.exists(whole):
        return whole, None
    parts = text.split(":")
    cuts = [(":".join(parts[:i]), ":".join(parts[i:])) for i in range(1, len(parts))]
    splits = [(Path(head), name) for head, name in cuts if head and name]
    files = [split for split in splits if os.path.isfile(split[0])]
    if len(files) > 1:
        files = [split for split in files if _holds(*split)] or files
    if files:
        return files[0]
    # No such file: the error names the one that was meant.
    named = [split for split in splits if split[0].suffix.lower() == ".npz"]
    return named[0] if named else (whole, None)


def _holds(path: Path, name: str) -> bool:
    try:
        return name in read_headers(path)
    except CalibrationError:
        return False


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Headers of all arrays in an ``.npz``, by name; a ``.npy`` has one, named ``""``.

    Raises:
        CalibrationError: no such file, neither npz nor npy, truncated, or a header that
            does not fit the stored bytes.
    """
    _check_is_file(path)
    try:
        if not zipfile.is_zipfile(path):
            return {"": _read_npy(path, header_only=True)[0]}
        with zipfile.ZipFile(path) as archive:
            headers = {}
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    with archive.open(info) as stream:
                        headers[info.filename[:-4]] = _read_header(stream, info.file_size)
            if not headers and foreign(path) in (PYTORCH, KERAS):
                raise ValueError("no arrays")
            return headers
    except _BROKEN_FILE as error:
        raise _not_readable(path, error) from error


def read_array(path: Path, name: str | None = None) -> NDArray[Any]:
    """Read one array; ``name`` may be left out where the file holds only one.

    Raises:
        CalibrationError: as `read_headers`; no array of that name, several and none
            named, an array of objects (needs pickles) or of something not a number.
    """
    headers = read_headers(path)
    if not headers:
        raise CalibrationError("file holds no arrays", where=str(path), expected="at least one")
    if name is None and len(headers) > 1:
        raise CalibrationError(
            "file holds several arrays",
            where=str(path),
            expected=f"a name, as in {path.name}:{next(iter(headers))}",
            got=describe(headers),
        )
    key = next(iter(headers)) if name is None else name
    if key not in headers:
        raise CalibrationError(
            "no such array", where=str(path), expected=f"one of {describe(headers)}", got=key
        )
    _check_numeric(headers[key], f"{path}:{key}" if key else str(path))
    return _read_data(path, key)


def to_array(value: Any, where: str) -> NDArray[Any]:
    """The array of a Python value: numbers, lists, tensors.

    Tensors may be of bfloat16, on another device, or with a gradient.

    Raises:
        CalibrationError: rows of different lengths, an iterator, any other object.
    """
    if callable(getattr(value, "detach", None)):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    try:
        array = np.asarray(value)
        got = type(value).__name__ if array.dtype.hasobject else None
    except (ValueError, TypeError, RuntimeError) as error:
        got = f"{type(value).__name__}: {reason(error)}"
    if got is not None:
        raise CalibrationError(
            "array is not numeric", where=where, expected="an array of numbers", got=got
        )
    return array


def describe(headers: dict[str, ArrayHeader]) -> str:
    """``x uint8 [100, 32, 32, 3], y uint8 [100]``."""
    return ", ".join(f"{name} {header}".strip() for name, header in headers.items()) or "none"


def _check_is_file(path: Path) -> None:
    if os.path.isdir(path):
        raise CalibrationError("data file is a folder", where=str(path), expected=".npz or .npy")
    if not os.path.exists(path):
        raise CalibrationError("no such data file", where=str(path))
    if not os.path.isfile(path):
        raise CalibrationError(
            "data file is no regular file", where=str(path), expected=".npz or .npy"
        )


def _check_numeric(header: ArrayHeader, where: str) -> None:
    if header.dtype.hasobject:
        raise CalibrationError(
            "array holds Python objects, which only pickles can load",
            where=where,
            expected="an array of numbers",
            got=header,
        )
    if header.dtype.kind not in _NUMERIC_KINDS:
        raise CalibrationError(
            "array is not numeric", where=where, expected="real numbers", got=header
        )


def _read_data(path: Path, name: str) -> NDArray[Any]:
    try:
        if not name:
            return _read_npy(path, header_only=False)[1]
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return np.asarray(npy_format.read_array(stream, allow_pickle=False))
    except _BROKEN_FILE as error:
        raise _not_readable(path, error) from error


def _read_npy(path: Path, *, header_only: bool) -> tuple[ArrayHeader, NDArray[Any]]:
    with path.open("rb") as stream:
        if stream.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
            raise ValueError("neither a complete zip archive nor an .npy file")
        stream.seek(0)
        header = _read_header(stream, path.stat().st_size)
        if header_only:
            return header, np.empty(0)
        stream.seek(0)
        return header, np.asarray(npy_format.read_array(stream, allow_pickle=False))


def _read_header(stream: IO[bytes], size: int) -> ArrayHeader:
    """Parse an npy header; ``size`` is the whole entry, header included."""
    version = npy_format.read_magic(stream)
    readers = {
        (1, 0): npy_format.read_array_header_1_0,
        (2, 0): npy_format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"npy format {version[0]}.{version[1]} holds no plain arrays")
    shape, _, dtype = readers[version](stream)
    if any(dimension < 0 for dimension in shape):
        raise ValueError(f"negative dimension in {shape}")
    header = ArrayHeader(tuple(shape), dtype)
    if not dtype.hasobject and header.nbytes != size - stream.tell():
        raise ValueError(f"{header} needs {header.nbytes} bytes, {size - stream.tell()} are there")
    return header


def _not_readable(path: Path, error: Exception) -> CalibrationError:
    if path.suffix.lower() in SUFFIXES:
        return CalibrationError(
            "a single image is no set of samples",
            where=str(path),
            expected="a folder of images",
        )
    known = foreign(path)
    if known is None or known is ARRAYS:
        expected = "an .npz or .npy file, or a folder of images"
        got = str(error) or type(error).__name__
    else:
        expected, got = known.samples, known.name
    return CalibrationError("cannot read arrays", where=str(path), expected=expected, got=got)
