"""Large constants beside the model: data with no part in the graph's structure are not copied.

The C++ parts of onnx (checker, inliner, version converter) take a model as one string of bytes,
which doubles or triples its memory, and no more than 2 GB of it. They are shown the model without
its large constants, which stand as inputs of the graph; `attach` puts them back as initializers.
Constants in external data files are never read as a whole: each is mapped from its file whenever
somebody asks for it, and unmapped when that array is gone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import external_data_helper, helper

from subbyte.errors import ModelFileError
from subbyte.graph.load.external_data import DataFolder, load

LARGE_BYTES = 1 << 20
"""Bytes from which on a constant is kept beside the model, where nobody says otherwise."""

LargeConstants = Mapping[str, ir.TensorProtocol]

_MAPPED_KINDS = "iuf"


def detach(
    model: onnx.ModelProto, folder: DataFolder | None = None, large_bytes: int = LARGE_BYTES
) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """A copy of ``model`` with its large initializers as graph inputs; these, by name.

    Initializers that are graph inputs in ``model`` may be overridden: they stay as they are.
    ``folder``: where external data files are; all data that are not mapped are read. Without it the
    model holds all its data, and one without large ones is returned as is. ``large_bytes``: from
    which on an initializer is large.

    Raises:
        OSError, ValueError: external data that are missing, too short for the tensor's shape, or
            outside of ``folder``.
    """
    given = {value.name for value in model.graph.input}
    large = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name not in given and _bytes(tensor) >= large_bytes and _may_stay(tensor, folder)
    ]
    if not large and folder is None:
        return model, {}
    names = {tensor.name for tensor in large}
    light = _copy(model, names)
    light.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in large
    )
    if folder is not None:
        load(light, folder)
    return light, {tensor.name: _beside(tensor, folder) for tensor in large}


def attach(model: ir.Model, large: LargeConstants) -> ir.Model:
    """Make the inputs of ``model`` that stand for large constants initializers again."""
    graph = model.graph
    for value in [value for value in graph.inputs if value.name in large]:
        graph.inputs.remove(value)
        value.const_value = large[str(value.name)]
        graph.register_initializer(value)
    return model


def _bytes(tensor: onnx.TensorProto) -> int:
    size = _dtype(tensor)
    return 0 if size is None else math.prod(tensor.dims) * size.itemsize


def _dtype(tensor: onnx.TensorProto) -> np.dtype[Any] | None:
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        return None


def _may_stay(tensor: onnx.TensorProto, folder: DataFolder | None) -> bool:
    """Whether the tensor's data are in the model, or in a file that numpy can map."""
    if not external_data_helper.uses_external_data(tensor):
        return True
    dtype = _dtype(tensor)
    return folder is not None and dtype is not None and dtype.kind in _MAPPED_KINDS


def _copy(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """``model`` without the initializers ``names``, which are not copied on the way."""
    light = onnx.ModelProto()
    _copy_fields(model, light, "graph")
    _copy_fields(model.graph, light.graph, "initializer")
    kept = (tensor for tensor in model.graph.initializer if tensor.name not in names)
    light.graph.initializer.extend(kept)
    return light


def _copy_fields(source: Any, target: Any, left_out: str) -> None:
    for field, value in source.ListFields():
        if field.name == left_out:
            continue
        if hasattr(value, "MergeFrom"):
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def _beside(tensor: onnx.TensorProto, folder: DataFolder | None) -> ir.TensorProtocol:
    if folder is None or not external_data_helper.uses_external_data(tensor):
        return ir.serde.deserialize_tensor(tensor)
    return _mapped(tensor, folder)


def _mapped(tensor: onnx.TensorProto, folder: DataFolder) -> ir.TensorProtocol:
    """The tensor as it lies in its file, which is checked now and mapped at each use."""
    info = external_data_helper.ExternalDataInfo(tensor)
    path = folder.file(info.location)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).newbyteorder("<")
    shape, offset = tuple(tensor.dims), info.offset or 0
    size = path.stat().st_size
    stored = info.length or size - offset
    wanted = math.prod(shape) * dtype.itemsize
    if stored != wanted or not 0 <= offset <= size - wanted:
        raise ValueError(
            f"{tensor.name} needs {wanted} bytes, not {stored} from byte {offset} of "
            f"{info.location}, which has {size}"
        )

    def read() -> ir.TensorProtocol:
        return ir.tensor(_map(path, dtype, offset, shape), name=tensor.name)

    return ir.LazyTensor(
        read, ir.DataType(tensor.data_type), ir.Shape(shape), name=tensor.name, cache=False
    )


def _map(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]
) -> NDArray[np.generic]:
    try:
        return np.asarray(np.memmap(path, dtype, "r", offset, shape))
    except (OSError, ValueError) as error:
        raise ModelFileError(
            "external data of the model have changed", where=str(path), got=error
        ) from error
