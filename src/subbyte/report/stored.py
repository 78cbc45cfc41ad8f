"""The constants that an ONNX file stores, and the ones that every layer's weight is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import external_data_helper

from subbyte.errors import ModelFileError, reason
from subbyte.graph.load.external_data import DataFolder
from subbyte.graph.load.model_file import parse_model

_DATA_FIELDS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)


@dataclass(frozen=True)
class Constant:
    """A stored tensor: bytes of its data, shape, and ONNX element type."""

    nbytes: int
    shape: tuple[int, ...]
    element_type: int


@dataclass(frozen=True)
class StoredModel:
    """A parsed file: ``constants`` by name, ``file_bytes`` with external data files,
    ``graph_bytes``: all but the data of the constants (nodes, functions, names)."""

    proto: onnx.ModelProto
    constants: Mapping[str, Constant]
    file_bytes: int
    graph_bytes: int


def read_stored(path: Path) -> StoredModel:
    """Parse a file without loading external data.

    Raises:
        ModelFileError: no such file, not ONNX, truncated, external data missing.
    """
    proto = parse_model(path)
    tensors = dict(_tensors(proto.graph))
    constants = {
        name: Constant(_data_bytes(tensor), tuple(tensor.dims), tensor.data_type)
        for name, tensor in tensors.items()
    }
    outside = _external_bytes(tensors.values(), path)
    inside = sum(
        constants[name].nbytes
        for name, tensor in tensors.items()
        if not external_data_helper.uses_external_data(tensor)
    )
    size = path.stat().st_size
    return StoredModel(proto, constants, size + outside, size - inside)


def constant_sources(
    graph: onnx.GraphProto, constants: Mapping[str, Constant]
) -> dict[str, frozenset[str]]:
    """Values computed from constants alone -> names of the constants they are made of.

    int64 constants are left out: they are shapes and indices, which say how a value is made, and
    are no part of it.
    """
    sources = {
        name: frozenset({name} if constant.element_type != onnx.TensorProto.INT64 else ())
        for name, constant in constants.items()
    }
    sources[""] = frozenset()
    for node in graph.node:
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            continue
        if all(name in sources for name in node.input):
            made_of = frozenset().union(*(sources[name] for name in node.input))
            for name in node.output:
                sources.setdefault(name, made_of)
    return sources


def reading_operators(graph: onnx.GraphProto, name: str) -> Iterator[tuple[str, str]]:
    """Domain and type of the nodes that read ``name``, in ``graph`` and in bodies of its nodes."""
    for node in graph.node:
        if name in node.input:
            yield node.domain, node.op_type
        for attribute in node.attribute:
            for body in [attribute.g, *attribute.graphs]:
                yield from reading_operators(body, name)


def _tensors(graph: onnx.GraphProto) -> Iterable[tuple[str, onnx.TensorProto]]:
    """Initializers, and the tensors of Constant nodes under the names of their outputs."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _data_bytes(tensor: onnx.TensorProto) -> int:
    if external_data_helper.uses_external_data(tensor):
        length = external_data_helper.ExternalDataInfo(tensor).length
        if length is not None:
            return int(length)
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        return math.prod(tensor.dims) * itemsize
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    bare = onnx.TensorProto()
    bare.CopyFrom(tensor)
    for field in _DATA_FIELDS:
        bare.ClearField(field)
    return tensor.ByteSize() - bare.ByteSize()


def _external_bytes(tensors: Iterable[onnx.TensorProto], path: Path) -> int:
    names = {
        external_data_helper.ExternalDataInfo(tensor).location
        for tensor in tensors
        if external_data_helper.uses_external_data(tensor)
    }
    folder = DataFolder.of(path)
    try:
        return sum(folder.file(name).stat().st_size for name in names)
    except (OSError, ValueError) as error:
        raise ModelFileError(
            "external data of the model cannot be read", where=str(path), got=reason(error)
        ) from error
