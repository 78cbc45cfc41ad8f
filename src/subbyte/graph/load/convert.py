"""Older operator sets lifted by onnx's converter, and the converter's mistakes mended.

- ``Resize`` of operator set 10 (and ``Upsample``, which becomes one) reads x at i / scale; the
  converter leaves the default of set 11, (i + 0.5) / scale - 0.5. Nearest takes the entry below
  where an axis grows and the one above where it shrinks, as ONNX Runtime does.
- ``Hardmax`` before set 13 works on x flattened to a matrix; the converter leaves it as it is.
- Shapes that the converter declares for values that it makes are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from subbyte.errors import UnsupportedOperatorError, reason
from subbyte.graph.protos import graphs

RESIZE_OPSET = 11
"""Set in which Resize got the attributes that say how it reads."""

HARDMAX_OPSET = 13
"""Set in which Hardmax began to work along one axis."""


def lift(model: onnx.ModelProto, opset: int, target: int, where: str) -> onnx.ModelProto:
    """``model`` of operator set ``opset`` in set ``target``, computing the same.

    Raises:
        UnsupportedOperatorError: a node that the converter cannot express in ``target``.
    """
    lifted = model
    if opset < RESIZE_OPSET:
        lifted = _convert(lifted, opset, RESIZE_OPSET, where)
        constants = _constants(lifted)
        for graph in graphs(lifted.graph):
            _replace(graph, "Resize", lambda node: _resizes(node, constants))
    if opset < HARDMAX_OPSET:
        for graph in graphs(lifted.graph):
            _replace(graph, "Hardmax", _flat_hardmax)
    lifted = _convert(lifted, opset, target, where)
    _keep_declared(lifted, model)
    return lifted


def _convert(model: onnx.ModelProto, opset: int, target: int, where: str) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(model, target)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise UnsupportedOperatorError(
            f"model cannot be converted to operator set {target}",
            where=where,
            got=f"operator set {opset}, {reason(error)}",
        ) from error


def _keep_declared(lifted: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Give outputs the types they had, and forget the types of values that ``model`` lacks."""
    types = {value.name: value.type for value in model.graph.output}
    for output in lifted.graph.output:
        output.ClearField("type")
        if types[output.name].WhichOneof("value"):
            output.type.CopyFrom(types[output.name])
    declared = [
        onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in model.graph.value_info
    ]
    del lifted.graph.value_info[:]
    lifted.graph.value_info.extend(declared)


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The constants of one axis at most, by name, of all graphs."""
    found = {}
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if len(tensor.dims) <= 1:
                found[tensor.name] = numpy_helper.to_array(tensor)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    given = {value.name for value in model.graph.input}
    return {name: array for name, array in found.items() if name not in given}


def _replace(
    graph: onnx.GraphProto, op_type: str, make: Callable[[onnx.NodeProto], list[onnx.NodeProto]]
) -> None:
    """Put the nodes of ``make`` in the place of each node of type ``op_type``."""
    if all(node.op_type != op_type or node.domain for node in graph.node):
        return
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        copied = onnx.NodeProto.FromString(node.SerializeToString())
        if node.op_type == op_type and not node.domain:
            nodes += make(copied)
        else:
            nodes.append(copied)
    del graph.node[:]
    graph.node.extend(nodes)


def _resizes(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> list[onnx.NodeProto]:
    """The Resize of set 11 that does as ``node`` did in set 10; two where axes may shrink.

    The one takes axes that shrink, the other the axes that grow: nearest reads them otherwise.
    """
    x, scales, (y,) = node.input[0], node.input[2], node.output
    modes = [helper.get_attribute_value(a) for a in node.attribute if a.name == "mode"]
    linear = bool(modes) and modes[0] in (b"linear", b"bilinear")
    known = constants.get(scales)
    if linear or (known is not None and (known >= 1).all()):
        return [_resize(node.name, x, scales, y, "linear" if linear else "nearest", "floor")]
    if known is not None and (known <= 1).all():
        return [_resize(node.name, x, scales, y, "nearest", "ceil")]
    one = helper.make_node(
        "Constant", [], [f"{y}.one"], value=numpy_helper.from_array(np.ones(1, np.float32))
    )
    return [
        one,
        helper.make_node("Min", [scales, f"{y}.one"], [f"{y}.down"], f"{y}.down"),
        helper.make_node("Max", [scales, f"{y}.one"], [f"{y}.up"], f"{y}.up"),
        _resize(f"{node.name or y}.shrink", x, f"{y}.down", f"{y}.shrunk", "nearest", "ceil"),
        _resize(node.name, f"{y}.shrunk", f"{y}.up", y, "nearest", "floor"),
    ]


def _resize(name: str, x: str, scales: str, y: str, mode: str, nearest: str) -> onnx.NodeProto:
    return helper.make_node(
        "Resize",
        [x, "", scales],
        [y],
        name,
        mode=mode,
        nearest_mode=nearest,
        coordinate_transformation_mode="asymmetric",
    )


def _flat_hardmax(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Hardmax of the matrix that x is flattened to at ``axis`` (1 by default), and back."""
    x, (y,) = node.input[0], node.output
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return [
        helper.make_node("Flatten", [x], [f"{y}.flat"], f"{y}.flat", axis=axis),
        helper.make_node("Hardmax", [f"{y}.flat"], [f"{y}.rows"], node.name, axis=1),
        helper.make_node("Shape", [x], [f"{y}.shape"], f"{y}.shape"),
        helper.make_node("Reshape", [f"{y}.rows", f"{y}.shape"], [y], f"{y}.shaped"),
    ]
