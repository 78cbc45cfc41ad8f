"""Files of other programs, told by their first bytes, and how to get on from there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from subbyte.errors import ModelFileError

_HEAD = 16
_FLATBUFFER = slice(4, 8)


@dataclass(frozen=True)
class Foreign:
    """A kind of file that other programs write.

    ``name``: the kind in words. ``network``, ``samples``: how to make a network or samples of such
    a file.
    """

    name: str
    network: str
    samples: str = "arrays, as numpy.savez writes them"


_EXPORT = "an ONNX file, as torch.onnx.export writes it"
_TORCH_SAMPLES = "arrays: numpy.savez(FILE, x=tensor.numpy())"
_TENSORFLOW = "an ONNX file, as python -m tf2onnx.convert writes it"

PYTORCH = Foreign("a PyTorch file", _EXPORT, _TORCH_SAMPLES)
SAFETENSORS = Foreign("a safetensors file: weights without a network", _EXPORT, _TORCH_SAMPLES)
ORT = Foreign("a file in ONNX Runtime's own format", "the ONNX file that it was made from")
TFLITE = Foreign("a TensorFlow Lite file", "an ONNX file, as tf2onnx.convert --tflite writes it")
SAVED_MODEL = Foreign(
    "a TensorFlow SavedModel", f"{_TENSORFLOW} with --saved-model", "arrays in an .npz file"
)
KERAS = Foreign("a Keras or HDF5 file", _TENSORFLOW)
GGUF = Foreign("a GGUF file", "an ONNX file of the network")
ARRAYS = Foreign("a NumPy file", "an ONNX file")
PICKLE = Foreign("a Python pickle", _EXPORT)
GZIP = Foreign("a gzip archive", "the file in it", "the file in it")
ARCHIVE = Foreign("a zip archive", "the ONNX file in it")


def foreign(path: Path) -> Foreign | None:
    """The kind of another program's file or folder; None if it is not known."""
    if os.path.isdir(path):
        return SAVED_MODEL if (path / "saved_model.pb").exists() else None
    if not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if head.startswith(b"PK\x03\x04"):
            return _of_archive(path)
    except (OSError, zipfile.BadZipFile):
        return None
    if path.name == "saved_model.pb":
        return SAVED_MODEL
    return _of_head(head)


def check_network_file(path: Path, *, also: Collection[Foreign] = ()) -> None:
    """Raise `ModelFileError` for an existing path that is no ONNX file (and none of ``also``)."""
    known = foreign(path)
    if known is not None and known not in also:
        raise ModelFileError(
            "the network is no ONNX file", where=str(path), expected=known.network, got=known.name
        )
    if os.path.isdir(path):
        raise ModelFileError("model is a folder", where=str(path), expected="an ONNX file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelFileError(
            "model is no regular file", where=str(path), expected="an ONNX file on a disk"
        )


def _of_archive(path: Path) -> Foreign:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return PYTORCH
    if any(name.endswith(".npy") for name in names):
        return ARRAYS
    return KERAS if "model.weights.h5" in names else ARCHIVE


def _of_head(head: bytes) -> Foreign | None:
    magics = {b"ORTM": ORT, b"TFL3": TFLITE}
    if head[_FLATBUFFER] in magics:
        return magics[head[_FLATBUFFER]]
    starts = {
        b"\x89HDF": KERAS,
        b"GGUF": GGUF,
        b"\x93NUMPY": ARRAYS,
        b"\x1f\x8b": GZIP,
        **{b"\x80" + bytes([protocol]): PICKLE for protocol in range(2, 6)},
    }
    for start, found in starts.items():
        if head.startswith(start):
            return found
    length = int.from_bytes(head[:8], "little")
    return SAFETENSORS if head[8:9] == b"{" and length < 1 << 40 else None
