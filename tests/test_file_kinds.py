from __future__ import annotations

import gzip
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from subbyte.data.arrays import read_array
from subbyte.errors import CalibrationError, ModelFileError
from subbyte.file_kinds import ORT, check_network_file, foreign
from subbyte.graph.load.model_file import parse_model
from subbyte.runtime import load


def made(folder: Path) -> dict[str, Path]:
    """A file (or folder) of each kind, by a word of its name."""
    files = {
        "PyTorch": folder / "net.pt",
        "pickle": folder / "old.pth",
        "safetensors": folder / "net.safetensors",
        "ONNX Runtime": folder / "net.ort",
        "TensorFlow Lite": folder / "net.tflite",
        "HDF5": folder / "net.h5",
        "Keras": folder / "net.keras",
        "GGUF": folder / "net.gguf",
        "gzip": folder / "net.onnx.gz",
        "zip archive": folder / "net.zip",
        "SavedModel": folder / "saved",
    }
    torch.save({"w": torch.zeros(2)}, files["PyTorch"])
    files["pickle"].write_bytes(pickle.dumps([1], protocol=2))
    head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    files["safetensors"].write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    files["ONNX Runtime"].write_bytes(b"\x18\0\0\0ORTM" + bytes(20))
    files["TensorFlow Lite"].write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    files["HDF5"].write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20))
    with zipfile.ZipFile(files["Keras"], "w") as archive:
        archive.writestr("model.weights.h5", b"")
    files["GGUF"].write_bytes(b"GGUF" + bytes(20))
    files["gzip"].write_bytes(gzip.compress(b"onnx"))
    with zipfile.ZipFile(files["zip archive"], "w") as archive:
        archive.writestr("net.onnx", b"onnx")
    files["SavedModel"].mkdir()
    (files["SavedModel"] / "saved_model.pb").write_bytes(b"\x08\x01")
    return files


def test_each_kind_is_named_as_a_network_and_as_samples(tmp_path: Path) -> None:
    for word, path in made(tmp_path).items():
        for read in (parse_model, load):
            if word == "ONNX Runtime" and read is load:
                continue
            with pytest.raises(ModelFileError, match=f"no ONNX file.*expected .*got a.*{word}"):
                read(path)
        with pytest.raises(CalibrationError):
            read_array(path)


def test_a_file_inside_a_saved_model_counts_as_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="SavedModel"):
        parse_model(made(tmp_path)["SavedModel"] / "saved_model.pb")


@pytest.mark.parametrize("word", ["PyTorch", "Keras", "pickle", "safetensors"])
def test_samples_of_another_program_name_the_way_out(tmp_path: Path, word: str) -> None:
    with pytest.raises(CalibrationError, match=rf"expected .*numpy\.savez.*got a.*{word}"):
        read_array(made(tmp_path)[word])


def test_a_file_of_arrays_is_no_network(tmp_path: Path) -> None:
    for path in (tmp_path / "x.npz", tmp_path / "x.npy"):
        np.savez(path, x=np.zeros(2)) if path.suffix == ".npz" else np.save(path, np.zeros(2))
        with pytest.raises(ModelFileError, match="got a NumPy file"):
            parse_model(path)


def test_the_runtime_takes_its_own_format(tmp_path: Path) -> None:
    check_network_file(made(tmp_path)["ONNX Runtime"], also=(ORT,))


def test_what_is_not_known_is_left_to_the_reader(tmp_path: Path) -> None:
    for data in (b"", b"\x08\x07\x12\x04", b"hello world, hello"):
        path = tmp_path / "file"
        path.write_bytes(data)
        assert foreign(path) is None
        check_network_file(path)
    assert foreign(tmp_path / "missing") is None
