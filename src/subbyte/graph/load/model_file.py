"""The inputs of an ONNX model, as `subbyte.data` wants to know them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from subbyte.data.specs import InputSpec, find_axes
from subbyte.errors import ModelFileError
from subbyte.file_kinds import check_network_file
from subbyte.graph.load.external_data import DataFolder, locations


def input_specs(model: onnx.ModelProto) -> tuple[InputSpec, ...]:
    """Name, shape, dtype and batch axis of every graph input that is not an initializer."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return find_axes([_spec(value) for value in model.graph.input if value.name not in constants])


def read_input_specs(path: str | os.PathLike[str]) -> tuple[InputSpec, ...]:
    """`input_specs` of a file.

    Raises:
        ModelFileError: as `parse_model`, or inputs that are no tensors.
    """
    return input_specs(parse_model(path))


def parse_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model in a file; weights kept outside the file are not read.

    Raises:
        ModelFileError: no such file, not ONNX, truncated.
    """
    where = str(path)
    check_network_file(Path(path))
    try:
        model = onnx.ModelProto.FromString(Path(path).read_bytes())
    except OSError as error:
        raise ModelFileError(
            "cannot read the model", where=where, got=error.strerror or str(error)
        ) from error
    except DecodeError as error:
        raise ModelFileError(
            "cannot read the model", where=where, expected="an ONNX file", got="no ONNX or cut off"
        ) from error
    if not model.graph.node:
        raise ModelFileError("model has no nodes", where=where, expected="an ONNX network")
    return model


def model_files(path: Path) -> dict[str, bytes]:
    """The bytes of a model's file and of its weight files, by their names from the model's folder.

    Raises:
        ModelFileError: as `parse_model`, or a file that cannot be read.
    """
    names, folder = locations(parse_model(path)), DataFolder.of(path)
    try:
        data = {name: folder.file(name).read_bytes() for name in names}
        return {path.name: path.read_bytes(), **data}
    except (OSError, ValueError) as error:
        raise ModelFileError("cannot read the model", where=str(path), got=error) from error


def data_files(path: str | os.PathLike[str]) -> list[Path]:
    """The file of a network, and the files that keep its weights, as far as they are there."""
    names = locations(parse_model(path)) if os.path.isfile(path) else []
    return [Path(path), *(Path(path).parent / name for name in names)]


def _spec(value: onnx.ValueInfoProto) -> InputSpec:
    tensor = value.type.tensor_type
    kind = value.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        raise ModelFileError(
            f"input {value.name!r} is no tensor",
            expected="an export whose inputs are tensors",
            got=str(kind).removesuffix("_type"),
        )
    if kind is None or not tensor.HasField("shape"):
        raise ModelFileError(
            f"input {value.name!r} has no known rank", expected="a tensor with a shape"
        )
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    )
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError as error:
        raise ModelFileError(
            f"input {value.name!r} has an unknown element type", got=tensor.elem_type
        ) from error
    if np.dtype(dtype).kind not in "biuf":
        raise ModelFileError(
            f"input {value.name!r} is no tensor of numbers",
            expected="an export that starts behind the reader, from numbers on",
            got=onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
        )
    return InputSpec(value.name, shape, np.dtype(dtype))
