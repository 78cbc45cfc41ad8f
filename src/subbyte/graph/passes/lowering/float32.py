"""Networks of half or double precision: computed in float32, with their own types at the border.

Every float16, bfloat16 and float64 value between inputs and outputs becomes float32, in subgraphs
too: constants, tensors in attributes, attributes that name an element type. Graph inputs and
outputs keep their element types by a ``Cast``. Values keep the meaning that they have in a narrow
type: a mask of -65504 or -inf is still far below any score, and bounds of the largest double are
the largest float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.errors import WeightError
from subbyte.graph.passes.editor import Editor

OTHER_FLOATS = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""Element types that are computed in float32."""

TYPE_ATTRIBUTES = frozenset(
    {
        "dtype",
        "output_datatype",
        "output_dtype",
        "precision",
        "softmax_precision",
        "stash_type",
        "to",
    }
)
"""Integer attributes that hold an element type, for any operator."""

_LARGEST = float(np.finfo(np.float32).max)


def compute_in_float32(model: ir.Model) -> None:
    """Make ``model`` float32 throughout, in place; it changes nothing in a float32 network.

    Raises:
        WeightError: a double constant that float32 cannot hold.
    """
    graph = model.graph
    for node in graph.all_nodes():
        _convert_attributes(node)
    kept = _keep_border(graph)
    for value in graph.initializers.values():
        if value not in kept:
            _convert_constant(value)
    for node in graph.all_nodes():
        for output in node.outputs:
            if output not in kept:
                _convert_type(output)
    for inner in graph.subgraphs():
        for value in inner.initializers.values():
            _convert_constant(value)
        for value in inner.inputs:
            _convert_type(value)


def _is_other_float(value: ir.Value) -> bool:
    """Whether ``value`` is a tensor of half or double precision."""
    return isinstance(value.type, ir.TensorType) and value.dtype in OTHER_FLOATS


def casts_to_identities(model: ir.Model) -> None:
    """Make every Cast to the element type that its input has already an Identity."""
    for node in model.graph:
        source = node.inputs[0] if node.op_type == "Cast" and node.domain == "" else None
        if source is None or source.dtype is None:
            continue
        if int(source.dtype) == node.attributes.get_int("to", 0):
            node.op_type = "Identity"
            node.attributes.clear()


def _keep_border(graph: ir.Graph) -> set[ir.Value]:
    """Cast inputs to float32 and outputs back; return the values that keep their type."""
    editor = Editor(graph)
    kept = set()
    for value in graph.inputs:
        if _is_other_float(value):
            kept.add(value)
            _cast_input(editor, value)
    made: dict[ir.Value, ir.Value] = {}
    for place, value in enumerate(list(graph.outputs)):
        if not _is_other_float(value) or value in kept:
            continue
        if value not in made:
            made[value] = _cast_output(editor, value)
        graph.outputs[place] = made[value]
    kept.update(made.values())
    return kept


def _cast_input(editor: Editor, value: ir.Value) -> None:
    """Let all nodes read a float32 copy of the graph input ``value``."""
    users = list(value.uses())
    if not users:
        return
    inside = _cast(editor, f"{value.name}.float", ir.DataType.FLOAT)
    inside.shape = value.shape
    for user, place in users:
        user.replace_input_with(place, inside)
    cast = inside.producer()
    if cast is not None:
        cast.replace_input_with(0, value)
        editor.graph.insert_before(editor.graph[0], cast)


def _cast_output(editor: Editor, value: ir.Value) -> ir.Value:
    """The value that takes over the name and type of the graph output ``value``."""
    name, kind = str(value.name), value.type
    value.name = editor.unique(f"{name}.float")
    outside = _cast(editor, name, value.dtype or ir.DataType.FLOAT)
    outside.name, outside.type, outside.shape = name, kind, value.shape
    cast = outside.producer()
    if cast is not None:
        cast.replace_input_with(0, value)
        editor.graph.append(cast)
    return outside


def _cast(editor: Editor, name: str, kind: ir.DataType) -> ir.Value:
    node = ir.node("Cast", [None], {"to": int(kind)}, name=f"{name}.cast")
    value = node.outputs[0]
    value.name, value.type = editor.unique(name), ir.TensorType(kind)
    return value


def _convert_type(value: ir.Value) -> None:
    if value.type is not None:
        value.type = _float32_type(value.type)


def _float32_type(kind: ir.TypeProtocol) -> ir.TypeProtocol:
    """``kind`` with float32 in place of other floats, inside sequences and optionals too."""
    if isinstance(kind, (ir.SequenceType, ir.OptionalType)):
        return type(kind)(_float32_type(kind.elem_type), denotation=kind.denotation)
    if isinstance(kind, (ir.TensorType, ir.SparseTensorType)) and kind.dtype in OTHER_FLOATS:
        return type(kind)(ir.DataType.FLOAT, denotation=kind.denotation)
    return kind


def _convert_constant(value: ir.Value) -> None:
    tensor = value.const_value
    if tensor is not None and tensor.dtype in OTHER_FLOATS:
        readers = [use.node.name for use in value.uses()]
        where = f"initializer {value.name}" + (f", node {readers[0]}" if readers else "")
        value.const_value = _float32_tensor(tensor, where)
    _convert_type(value)


def _convert_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        made = _float32_attribute(attribute, f"node {node.name}")
        if made is not None:
            node.attributes[name] = made


def _float32_attribute(attribute: ir.Attr, where: str) -> ir.Attr | None:
    """The attribute without other floats; None where it has none."""
    name = attribute.name
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.dtype in OTHER_FLOATS:
            return ir.AttrTensor(name, _float32_tensor(tensor, where))
    elif attribute.type == ir.AttributeType.TENSORS:
        tensors = list(attribute.as_tensors())
        if any(tensor.dtype in OTHER_FLOATS for tensor in tensors):
            return ir.AttrTensors(name, [_float32_tensor(tensor, where) for tensor in tensors])
    elif attribute.type == ir.AttributeType.INT and name in TYPE_ATTRIBUTES:
        if attribute.as_int() in {int(kind) for kind in OTHER_FLOATS}:
            return ir.AttrInt64(name, int(ir.DataType.FLOAT))
    elif attribute.type == ir.AttributeType.TYPE_PROTO:
        held = attribute.value
        return ir.AttrTypeProto(name, ir.TypeAndShape(_float32_type(held.type), held.shape))
    return None


def _float32_tensor(tensor: ir.TensorProtocol, where: str) -> ir.TensorProtocol:
    """``tensor`` in float32; one that is mapped from its file is converted at each use."""
    if tensor.dtype not in OTHER_FLOATS:
        return tensor
    array = _float32(tensor.numpy(), where)
    if not isinstance(tensor, ir.LazyTensor):
        return ir.tensor(array, name=tensor.name)
    return ir.LazyTensor(
        lambda: ir.tensor(_float32(tensor.numpy(), where), name=tensor.name),
        ir.DataType.FLOAT,
        ir.Shape(array.shape),
        name=tensor.name,
        cache=False,
    )


def _float32(array: NDArray[np.generic], where: str) -> NDArray[np.float32]:
    if array.dtype == np.float64:
        array = _within_float32(array, where)
    return np.asarray(array).astype(np.float32)


def _within_float32(array: NDArray[np.generic], where: str) -> NDArray[np.float64]:
    """Doubles that float32 holds; the largest double stands for no bound, and stays that."""
    doubles = array.astype(np.float64)
    limit = np.finfo(np.float64).max
    unbounded = np.abs(doubles) == limit
    doubles = np.where(unbounded, np.sign(doubles) * _LARGEST, doubles)
    beyond = np.isfinite(doubles) & (np.abs(doubles) > _LARGEST)
    if beyond.any():
        raise WeightError(
            "double constant beyond the range of float32, in which networks are computed",
            where=where,
            expected=f"numbers up to {_LARGEST:.4g}",
            got=f"{doubles[beyond].flat[0]:.4g}",
        )
    return doubles
