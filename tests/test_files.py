from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from subbyte.errors import OutputError
from subbyte.files import check_writable, write_atomic


def refuse(code: int):  # type: ignore[no-untyped-def]
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, call, refuse(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"a\.bin.*No space left"):
        write_atomic(target, b"new")
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    assert check_writable(tmp_path / "a.bin") == tmp_path / "a.bin"
    assert os.listdir(tmp_path) == []


def test_check_writable_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_writable(tmp_path / "none" / "a.bin")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="does not exist"):
        check_writable(tmp_path / "file" / "a.bin")
    monkeypatch.setattr("tempfile.mkstemp", refuse(errno.EACCES))
    with pytest.raises(OutputError, match=r"not writable.*Permission denied"):
        check_writable(tmp_path / "a.bin")
