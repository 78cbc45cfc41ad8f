"""Metadata of an ONNX file, read without its weights and without the package onnx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from subbyte.data.preprocessing import METADATA_KEY, Preprocessing

# Fields of the protobuf messages ModelProto and StringStringEntryProto (onnx.proto).
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_BYTES, _VARINT, _FIXED = 2, 0, {1: 8, 5: 4}
_LONGEST = 1 << 20


def recorded_preprocessing(path: str | os.PathLike[str]) -> Preprocessing | None:
    """The preprocessing that a compressed file records; None if it records none.

    A file that cannot be read, or is no ONNX file, records none: whoever loads it says so.

    Raises:
        OptionError: a record that subbyte did not write.
    """
    return preprocessing_in(read_metadata(path), os.fspath(path))


def preprocessing_in(metadata: dict[str, str], where: str) -> Preprocessing | None:
    """The preprocessing in a file's metadata; raises as `recorded_preprocessing`."""
    text = metadata.get(METADATA_KEY)
    return None if text is None else Preprocessing.of_record(text, where)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """``metadata_props`` of an ONNX file; empty where the file is no such file."""
    found = {}
    try:
        with open(path, "rb") as stream:
            for field, content in _fields(stream, os.fstat(stream.fileno()).st_size):
                if field == _METADATA_PROPS:
                    entry = dict(_parts(content))
                    found[entry.get(_KEY, b"").decode()] = entry.get(_VALUE, b"").decode()
    except (OSError, ValueError):
        return {}
    return found


def _fields(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the fields of a message; content only where it may be metadata."""
    while stream.tell() < size:
        tag = _varint(stream)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _varint(stream)
        elif kind == _BYTES:
            length = _varint(stream)
            if field == _METADATA_PROPS and length <= _LONGEST:
                yield field, _exactly(stream, length)
            else:
                stream.seek(length, os.SEEK_CUR)
        elif kind in _FIXED:
            stream.seek(_FIXED[kind], os.SEEK_CUR)
        else:
            raise ValueError(f"no protobuf message: wire type {kind}")


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of an entry, which are texts."""
    stream = BytesIO(content)
    while stream.tell() < len(content):
        tag = _varint(stream)
        if tag & 7 != _BYTES:
            raise ValueError("an entry of metadata that is no text")
        yield tag >> 3, _exactly(stream, _varint(stream))


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise ValueError("no protobuf message: it ends too early")
    return content


def _varint(stream: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)
        if not byte or shift > 63:
            raise ValueError("no protobuf message: a number without end")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
