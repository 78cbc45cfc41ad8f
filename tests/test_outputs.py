from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from subbyte.errors import OptionError, OutputError
from subbyte.files import check_writable, write_atomic
from subbyte.outputs import check_apart, files_of


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """``net`` and ``data``; links of all kinds to ``net``; a pipe and a socket."""
    (tmp_path / "net").write_bytes(b"net")
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "link").symlink_to("net")
    (tmp_path / "hard").hardlink_to(tmp_path / "net")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling").symlink_to("later")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["net", "link", "hard", "folder/net", "folder/link", "./net"])
def test_an_input_by_any_name_is_never_an_output(files: Path, name: str) -> None:
    with pytest.raises(OptionError, match=f"overwrite the input.*got .*{files.name}/net"):
        check_apart([None, f"{files}/{name}"], [files / "data", None, files / "net"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("new", "new"), ("new", "folder/new"), ("later", "dangling"), ("net", "hard")],
)
def test_two_outputs_are_two_files(files: Path, one: str, other: str) -> None:
    with pytest.raises(OptionError, match="two outputs are one file"):
        check_apart([files / one, files / other], [])
    check_apart([files / one, files / "else"], [files / "data"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe", "no regular file.*got a pipe"),
        ("to-pipe", "no regular file.*got a pipe"),
        ("loop", "link to itself"),
        ("folder", "is a folder"),
    ],
)
def test_what_is_no_file_is_never_replaced(files: Path, name: str, message: str) -> None:
    for refused in (check_writable, lambda path: write_atomic(path, b"x")):
        with pytest.raises(OutputError, match=message):
            refused(files / name)
    assert (files / "pipe").is_fifo()
    assert (files / name).is_symlink() or (files / name).is_fifo()


def test_a_socket_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OutputError, match="got a socket"):
            check_writable("socket")


def test_a_link_stays_and_what_it_leads_to_is_written(files: Path) -> None:
    for name, target in (("link", "net"), ("dangling", "later")):
        check_writable(files / name)
        write_atomic(files / name, b"new")
        assert (files / name).is_symlink()
        assert (files / target).read_bytes() == b"new"
    assert [name for name in os.listdir(files) if name.startswith(".")] == []


def test_files_of_references(files: Path) -> None:
    path = files / "a=b.npz"
    np.savez(path, x=np.zeros(1))
    assert files_of([f"{path}:x", f"rate={path}:x", "rate=16000", None, "", f"{files}/no.npz"]) == [
        path,
        path,
    ]


def test_a_file_of_the_folder_of_samples_is_never_replaced(tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "cats"
    photos.mkdir(parents=True)
    (photos / "0.jpg").write_bytes(b"picture")
    folder = files_of([str(tmp_path / "photos")])
    with pytest.raises(OptionError, match=r"a file of the folder of samples .*0\.jpg"):
        check_apart([photos / "0.jpg"], folder)
    check_apart([photos / "small.onnx", tmp_path / "small.onnx"], folder)


@pytest.mark.parametrize("text", ["{}/made.py:batches", "x={}/made.py:batches", "made:batches"])
def test_the_module_of_a_function_is_never_replaced(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text("")
    with pytest.raises(OptionError, match=r"overwrite the input .*made\.py"):
        check_apart([tmp_path / "made.py"], files_of([text.format(tmp_path)]))
