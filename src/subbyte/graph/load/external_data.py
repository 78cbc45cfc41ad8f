"""External data: where the files that keep a model's weights may lie, and reading them.

A location is a path from the folder in which the model lies (of a model that is a link: in which
the link lies). Links are followed as download caches make them: to places below that folder, and
into the cache's own folder of blobs, ``snapshots/.../model.onnx -> blobs/HASH``. Absolute
locations, ``..`` and everything that is no regular file are refused before anything is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import external_data_helper

from subbyte.graph.protos import graphs

SNAPSHOTS, BLOBS = "snapshots", "blobs"
"""Folders of a download cache: links by file name, and the targets of the links."""


@dataclass(frozen=True)
class DataFolder:
    """Where external data of a model are looked for, and the real folders they may lie below."""

    folder: Path
    allowed: tuple[Path, ...]

    @classmethod
    def of(cls, model: Path) -> DataFolder:
        """The folder of the model file ``model``."""
        folder = model.parent
        allowed = [folder.resolve()]
        if model.is_symlink() and model.resolve().parent.name == BLOBS:
            allowed.append(model.resolve().parent)
        for parent in folder.absolute().parents:
            if parent.name == SNAPSHOTS:
                allowed.append((parent.parent / BLOBS).resolve())
        return cls(folder, tuple(allowed))

    def file(self, location: str) -> Path:
        """The real, regular file at ``location``.

        Raises:
            OSError: no such file.
            ValueError: a location out of the folder, or no regular file.
        """
        parts = PurePosixPath(location).parts
        rooted = location.startswith("/") or PureWindowsPath(location).anchor
        if not parts or rooted or ".." in parts or "\0" in location:
            raise ValueError(f"location {location!r} is no path below the folder of the model")
        real = Path(os.path.realpath(self.folder / location, strict=True))
        if not any(real.is_relative_to(folder) for folder in self.allowed):
            raise ValueError(
                f"{location} is a link out of the folder of the model: expected one that stays "
                f"below it, or leads into the {BLOBS} of its download cache"
            )
        if not stat.S_ISREG(real.stat().st_mode):
            raise ValueError(f"{location} is no regular file")
        return real


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of ``model``: initializers and attributes, in inner graphs and functions too."""
    for graph in graphs(model.graph):
        yield from graph.initializer
        yield from _attribute_tensors(graph.node)
    for function in model.functions:
        yield from _attribute_tensors(function.node)
        for node in function.node:
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    for graph in graphs(inner):
                        yield from graph.initializer
                        yield from _attribute_tensors(graph.node)


def locations(model: onnx.ModelProto) -> list[str]:
    """The locations of all external data of ``model``, each once."""
    found = {
        external_data_helper.ExternalDataInfo(tensor).location
        for tensor in tensors(model)
        if external_data_helper.uses_external_data(tensor)
    }
    return sorted(found)


def load(model: onnx.ModelProto, folder: DataFolder) -> None:
    """Read all external data into ``model``.

    Raises:
        OSError, ValueError: as `DataFolder.file`, or data that end too early.
    """
    for tensor in tensors(model):
        if external_data_helper.uses_external_data(tensor):
            tensor.raw_data = _read(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _read(tensor: onnx.TensorProto, folder: DataFolder) -> bytes:
    info = external_data_helper.ExternalDataInfo(tensor)
    path = folder.file(info.location)
    offset, size = info.offset or 0, path.stat().st_size
    length = info.length if info.length is not None else size - offset
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(
            f"{tensor.name} has {length} bytes from byte {offset} of {info.location}, "
            f"which has {size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
