from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from subbyte.errors import OutputError
from subbyte.files import check_writable, hold, pending, sweep, sweep_partial, write_atomic


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


def test_a_file_is_tried_before_it_has_its_name(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pending(target, b"new") as temporary:
        assert temporary.read_bytes() == b"new"
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("kind", [OSError, ValueError, KeyboardInterrupt])
def test_what_does_not_pass_leaves_nothing(tmp_path: Path, kind: type[BaseException]) -> None:
    """Errors of the trial stay what they are."""
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(kind, match="tried"), pending(target, b"new"):
        raise kind("tried")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    assert check_writable(tmp_path / "a.bin") == tmp_path / "a.bin"
    assert os.listdir(tmp_path) == []


def test_check_writable_removes_what_killed_runs_left(tmp_path: Path) -> None:
    """A run that goes on may have nothing more to write there."""
    (tmp_path / ".a.bin-00000000.partial").touch()
    check_writable(tmp_path / "a.bin")
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


def test_what_killed_runs_left_of_a_file_goes_when_it_is_written(tmp_path: Path) -> None:
    left = [".a[1].bin-abcd_123.partial", ".a[1].bin-00000000.partial"]
    others = [".a1.bin-00000000.partial", ".a[1].bin-mine.partial", "a[1].bin-00000000.partial"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    write_atomic(tmp_path / "a[1].bin", b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["a[1].bin", *others])
    sweep_partial(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["a[1].bin", *others[1:]])


def test_what_another_run_holds_stays(tmp_path: Path) -> None:
    busy, left = tmp_path / ".a.bin-00000000.partial", tmp_path / ".a.bin-00000001.partial"
    folder = tmp_path / "spilled-0"
    busy.touch()
    left.touch()
    folder.mkdir()
    (folder / "values").touch()
    handles = [hold(busy), hold(folder)]
    write_atomic(tmp_path / "a.bin", b"whole")
    sweep(tmp_path, "spilled-*")
    assert sorted(os.listdir(tmp_path)) == [busy.name, "a.bin", "spilled-0"]
    for handle in handles:
        os.close(handle)
    sweep_partial(tmp_path)
    sweep(tmp_path, "spilled-*")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_temporary_file_that_was_swept_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, taken = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        whole(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_atomic(tmp_path / "a.bin", b"whole")
    assert len(taken) == 1
    assert os.listdir(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be held there, and so nothing is removed."""
    (tmp_path / ".a.bin-00000000.partial").touch()
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOTSUP))
    write_atomic(tmp_path / "a.bin", b"whole")
    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert sorted(os.listdir(tmp_path)) == [".a.bin-00000000.partial", "a.bin"]
