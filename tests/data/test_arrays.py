from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from subbyte.data.arrays import read_array, read_headers, split_reference, to_array
from subbyte.errors import CalibrationError


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(6, dtype=np.uint8).reshape(2, 3), y=np.float16([1, 2]))
    return path


def test_split_reference(tmp_path: Path) -> None:
    assert split_reference("a/b.npz:x_train") == (Path("a/b.npz"), "x_train")
    assert split_reference("a/b.npz") == (Path("a/b.npz"), None)
    assert split_reference("C:/b.npy") == (Path("C:/b.npy"), None)
    odd = tmp_path / "a.npz:b"
    odd.touch()
    assert split_reference(odd) == (odd, None)


@pytest.mark.parametrize("name", ["onnx::Flatten_0", "serving_default_x:0", "a/b:c", ":", "x"])
def test_names_of_arrays_may_hold_colons(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a:b.npz"
    np.savez(path, **{name: np.arange(3), "other": np.zeros(2)})
    assert split_reference(f"{path}:{name}") == (path, name)
    assert read_array(*split_reference(f"{path}:{name}")).tolist() == [0, 1, 2]


def test_of_several_files_that_which_holds_the_array_is_meant(tmp_path: Path) -> None:
    short, long = tmp_path / "a.npz", tmp_path / "a.npz:b"
    np.savez(short, **{"b:c": np.zeros(2)})
    with long.open("wb") as stream:
        np.savez(stream, d=np.zeros(2))
    assert split_reference(f"{short}:b:c") == (short, "b:c")
    assert split_reference(f"{long}:d") == (long, "d")


def test_a_missing_file_is_named_without_the_array(tmp_path: Path) -> None:
    missing = tmp_path / "no.npz"
    assert split_reference(f"{missing}:onnx::Flatten_0") == (missing, "onnx::Flatten_0")


def test_reads_headers_and_arrays(npz: Path) -> None:
    headers = read_headers(npz)
    assert {name: str(header) for name, header in headers.items()} == {
        "x": "uint8 [2, 3]",
        "y": "float16 [2]",
    }
    np.testing.assert_array_equal(read_array(npz, "x"), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("compressed", [True, False])
def test_only_array_needs_no_name(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "one.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=np.ones(3))
    np.testing.assert_array_equal(read_array(path), np.ones(3))


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, np.asfortranarray(np.arange(6).reshape(2, 3)))
    np.testing.assert_array_equal(read_array(path), [[0, 1, 2], [3, 4, 5]])


def test_several_arrays_need_a_name(npz: Path) -> None:
    with pytest.raises(CalibrationError, match=r"several arrays.*npz:x, got x uint8 \[2, 3\], y"):
        read_array(npz)


def test_unknown_name_lists_the_known(npz: Path) -> None:
    with pytest.raises(CalibrationError, match=r"one of x uint8 \[2, 3\], y float16 \[2\], got z"):
        read_array(npz, "z")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such data file"):
        read_array(tmp_path / "none.npz")
    with pytest.raises(CalibrationError, match="is a folder"):
        read_array(tmp_path)


def test_objects_and_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, o=np.array([{}], dtype=object), t=np.array(["a"]), c=np.array([1j]))
    with pytest.raises(CalibrationError, match="only pickles can load"):
        read_array(path, "o")
    for name in "tc":
        with pytest.raises(CalibrationError, match="not numeric"):
            read_array(path, name)


@pytest.mark.parametrize("keep", [0, 1, 7, 100, -1, -30])
def test_truncated_archive(npz: Path, keep: int) -> None:
    npz.write_bytes(npz.read_bytes()[:keep])
    with pytest.raises(CalibrationError, match="cannot read arrays"):
        read_array(npz, "x")


def test_damaged_archive(npz: Path) -> None:
    data = bytearray(npz.read_bytes())
    at = data.index(bytes(range(6)))
    data[at] ^= 0xFF
    npz.write_bytes(data)
    with pytest.raises(CalibrationError, match="CRC"):
        read_array(npz, "x")


def test_text_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.npz"
    path.write_text("hello")
    with pytest.raises(CalibrationError, match=r"expected an \.npz or \.npy file"):
        read_array(path)


def test_empty_archive(tmp_path: Path) -> None:
    path = tmp_path / "empty.npz"
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(CalibrationError, match="holds no arrays"):
        read_array(path)


def test_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "huge.npy"
    np.save(path, np.zeros(4, np.float32))
    data = path.read_bytes().replace(b"(4,), }        ", b"(400000000000,}")
    path.write_bytes(data.replace(b"(400000000000,}", b"(40000000,), } "))
    with pytest.raises(CalibrationError, match="needs 160000000 bytes, 16 are there"):
        read_array(path)


def test_damaged_bytes_end_in_the_named_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((3, 4)))
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(400):
        data = bytearray(good)
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_array(path)
        except CalibrationError:
            failed += 1
    assert 100 < failed < 400


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, 3, requires_grad=True), torch.ones(2, 3, dtype=torch.bfloat16), [[1, 1, 1]] * 2],
)
def test_arrays_of_python_values(tensor: object) -> None:
    np.testing.assert_array_equal(to_array(tensor, "here"), np.ones((2, 3)))


@pytest.mark.parametrize("value", [None, iter([1]), [[1], [1, 2]], object()])
def test_python_values_that_are_no_arrays(value: object) -> None:
    with pytest.raises(
        CalibrationError, match=r"not numeric \[here\]: expected an array of numbers"
    ):
        to_array(value, "here")


def test_numbers_longer_than_a_name_are_no_file() -> None:
    text = "v=" + ",".join(["0.25"] * 100)
    assert split_reference(text) == (Path(text), None)
