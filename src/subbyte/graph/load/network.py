"""Reading ONNX files: anything wrong with one is found here, before any work starts."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
import onnx_ir as ir

from subbyte.data.fitting import InputChoice
from subbyte.data.preprocessing import METADATA_KEY
from subbyte.errors import (
    AlreadyCompressedError,
    ModelFileError,
    UnsupportedOperatorError,
    reason,
)
from subbyte.graph.functions.body import DOMAIN, FORMAT_KEY
from subbyte.graph.load.accept import put_right
from subbyte.graph.load.check_weights import check_finite
from subbyte.graph.load.checker import check_model
from subbyte.graph.load.convert import lift
from subbyte.graph.load.early import modernize, put_back, set_aside
from subbyte.graph.load.external_data import DataFolder, load
from subbyte.graph.load.fold_inputs import fold_inputs
from subbyte.graph.load.large_constants import LARGE_BYTES, LargeConstants, attach, detach
from subbyte.graph.load.model_file import parse_model
from subbyte.graph.module.foreign import WAY_OUT
from subbyte.graph.module.node_view import node_view
from subbyte.graph.nested import all_nodes, nested_graphs
from subbyte.graph.network import Network
from subbyte.graph.ops import OPERATORS, build_kernel
from subbyte.graph.ops.binary import TRAINED
from subbyte.graph.passes.pipeline import prepare_graph
from subbyte.progress import Progress, silent
from subbyte.runtime.ort import known_operators

OLDEST_OPSET = 7
PREPARED_OPSET = 18
STANDARD_DOMAINS = ("", "ai.onnx")
_BROKEN_DATA = (OSError, ValueError)


def read_network(
    path: str | os.PathLike[str],
    choice: InputChoice | None = None,
    *,
    large_bytes: int = LARGE_BYTES,
) -> Network:
    """The network in an ONNX file (operator sets 7 to the newest that onnx knows).

    Raises `ModelFileError` (no such file, truncated, not ONNX, broken external data),
    `AlreadyCompressedError`, `UnsupportedOperatorError` or `WeightError` (NaN, Inf).
    ``choice``: of its inputs. ``large_bytes``: as of `detach`.
    """
    source = Path(path)
    return read_file(source, source.stem, choice=choice, large_bytes=large_bytes)


def read_file(
    path: Path,
    name: str,
    *,
    choice: InputChoice | None = None,
    progress: Progress = silent,
    large_bytes: int = LARGE_BYTES,
) -> Network:
    """`read_network` with another name; large external data are mapped, not loaded.

    ``progress``: as of `prepare_graph`. ``large_bytes``: as of `detach`.
    """
    where = str(path)
    model = parse_model(path)
    try:
        light, large = detach(model, DataFolder.of(path), large_bytes)
    except _BROKEN_DATA as error:
        raise _unreadable_data(where, error) from error
    return _prepare(light, large, name, where, choice, progress)


def load_model(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file and load its external data; raises `ModelFileError`."""
    model, where = parse_model(path), str(path)
    try:
        load(model, DataFolder.of(path))
    except _BROKEN_DATA as error:
        raise _unreadable_data(where, error) from error
    return model


def _unreadable_data(where: str, error: Exception) -> ModelFileError:
    return ModelFileError(
        "external data of the model cannot be read", where=where, got=reason(error)
    )


def prepare(
    model: onnx.ModelProto,
    name: str,
    where: str | None = None,
    *,
    choice: InputChoice | None = None,
    progress: Progress = silent,
    large_bytes: int = LARGE_BYTES,
) -> Network:
    """The network of a parsed model: checked, converted to operator set 18 or later, prepared.

    ``where`` (by default ``name``) is the model's name in errors; ``model`` is not changed.
    ``progress``: as of `prepare_graph`. ``large_bytes``: as of `detach`.
    """
    return _prepare(*detach(model, large_bytes=large_bytes), name, where or name, choice, progress)


def _prepare(
    model: onnx.ModelProto,
    large: LargeConstants,
    name: str,
    where: str,
    choice: InputChoice | None,
    progress: Progress,
) -> Network:
    choice = choice or InputChoice()
    model = fold_inputs(put_right(_without_trained_functions(model)), choice)
    opset = _check_header(model, where)
    if model.functions:
        model = _inline(model, where)
    model = modernize(model, opset)
    graph_model = attach(_to_ir(model, where), large)
    _check_operators(graph_model, opset, where)
    model = set_aside(model, opset, PREPARED_OPSET)
    _check_valid(model, where)
    _check_tensors(graph_model, where)
    check_finite(graph_model)
    if opset < PREPARED_OPSET:
        graph_model = attach(_to_ir(lift(model, opset, PREPARED_OPSET, where), where), large)
        put_back(graph_model)
    _check_trained(graph_model)
    if choice.record is not None:
        graph_model.metadata_props[METADATA_KEY] = choice.record
    return prepare_graph(graph_model, name, axes=choice.axes, progress=progress)


def _without_trained_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model``, or a copy in which the nodes of layers trained binary stand for themselves."""
    trained = [f for f in model.functions if f.domain == DOMAIN and f.name in TRAINED]
    if not trained:
        return model
    kept = [function for function in model.functions if function not in trained]
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.functions[:]
    copied.functions.extend(kept)
    return copied


def _check_header(model: onnx.ModelProto, where: str) -> int:
    """Raise for a compressed model and for operator sets out of range; return the standard one."""
    coded = {node.domain for node in model.graph.node if node.op_type not in TRAINED}
    coded |= {function.domain for function in model.functions}
    inlined = any(entry.key == FORMAT_KEY for entry in model.metadata_props)
    if DOMAIN in coded or inlined:
        raise AlreadyCompressedError(
            "the model already holds subbyte layers", where=where, expected="a float model"
        )
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST_OPSET <= versions[0] <= newest:
        raise ModelFileError(
            "operator set of the model is not covered",
            where=where,
            expected=f"one from {OLDEST_OPSET} to {newest}",
            got=versions[0] if versions else "none",
        )
    return versions[0]


def _inline(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(
            "functions of the model cannot be expanded", where=where, got=reason(error)
        ) from error


def _to_ir(model: onnx.ModelProto, where: str) -> ir.Model:
    try:
        graph_model = ir.from_proto(model)
    except (ValueError, KeyError, TypeError, ir.serde.SerdeError) as error:
        raise ModelFileError("not a valid model", where=where, got=reason(error)) from error
    for node in all_nodes(graph_model.graph):
        if node.domain == "ai.onnx":
            node.domain = ""
        node.name = node.name or next((out.name for out in node.outputs if out.name), "node")
    return graph_model


def _check_operators(model: ir.Model, opset: int, where: str) -> None:
    """Raise `UnsupportedOperatorError` that lists each kind of operator that cannot be run.

    ONNX Runtime runs the operators that our table does not cover; but it has to know them.
    """
    found: dict[tuple[str, str], str] = {}
    for node in all_nodes(model.graph):
        kind = (node.domain, node.op_type)
        if kind not in OPERATORS and kind not in known_operators():
            version = model.opset_imports.get(node.domain, opset)
            found.setdefault(kind, node_view(node, version, {}).label())
    if found:
        raise UnsupportedOperatorError(
            "ONNX Runtime does not know an operator of the network",
            where=where,
            expected=WAY_OUT,
            got="; ".join(found.values()),
        )


def _check_trained(model: ir.Model) -> None:
    """Raise `UnsupportedOperatorError` for a layer trained binary whose attributes are not
    covered: ONNX Runtime does not run such a node either."""
    for node in all_nodes(model.graph):
        if node.domain == DOMAIN and node.op_type in TRAINED:
            build_kernel(node_view(node, model.opset_imports[""]))


def _check_valid(model: onnx.ModelProto, where: str) -> None:
    try:
        check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelFileError("not a valid model", where=where, got=reason(error)) from error
    except ValueError as error:
        raise ModelFileError("model too large", where=where, got=reason(error)) from error


def _check_tensors(model: ir.Model, where: str) -> None:
    """Raise `ModelFileError` for a constant whose data do not fill its shape."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    for inner in nested_graphs(model.graph):
        tensors += [value.const_value for value in inner.initializers.values()]
    for node in all_nodes(model.graph):
        attributes = node.attributes.values()
        tensors += [
            entry.as_tensor() for entry in attributes if entry.type == ir.AttributeType.TENSOR
        ]
    for tensor in tensors:
        try:
            if tensor is not None:
                tensor.numpy()
        except (TypeError, ValueError) as error:
            raise ModelFileError(
                "constant of the model is broken",
                where=f"{where}, {tensor.name if tensor is not None else ''}",
                got=reason(error),
            ) from error
