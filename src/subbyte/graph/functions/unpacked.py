"""The functions of domain ``subbyte`` that give a node its weight as floats.

Names: Method + Variant + Op. Op says which array is made of W[O, T, I]:

- ``Tensor``: the stored array, of ``tensor_shape``, in order ``stored``; ``TensorTurned`` and
  ``TensorKernel``: in order ``turned`` and ``kernel`` (`subbyte.graph.weight_layout`).
- ``Rows``: the rows that Gather takes of it, y[*indices, *row_shape]: the packed rows are gathered,
  and no others unpacked.

Runtimes that fold constants unpack a tensor once, when the file is loaded.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import TensorProto

from subbyte.graph.functions.body import Body, make_function, reference_types
from subbyte.graph.network import Order
from subbyte.methods import METHODS

TENSORS: dict[Order, str] = {
    "stored": "Tensor",
    "turned": "TensorTurned",
    "kernel": "TensorKernel",
    "transposed kernel": "TensorTransposedKernel",
}
ROWS = "Rows"
_TYPE = re.compile(f"({'|'.join(TENSORS.values())}|{ROWS})$")


def gives_weight(op_type: str) -> bool:
    """Whether a function of this name is one of these."""
    return _TYPE.search(op_type) is not None


def tensor_function(weight: onnx.FunctionProto, order: Order, opset: int) -> onnx.FunctionProto:
    """The packed arrays -> y float32 [*tensor_shape].

    ``weight``: the function that unpacks them. Attributes: the attributes of ``weight``,
    ``tensor_shape`` and ``group``, the number of matrices.
    """
    body = Body()
    packed = list(weight.input)
    body.call(weight.name, packed, ["weight_int8", "weight_scale"])
    kinds = reference_types(weight.node)
    body.refer(**{name: kinds[name] for name in weight.attribute})
    integers = body.op("Cast", "weight_int8", to=TensorProto.FLOAT)
    scale = body.op("Unsqueeze", "weight_scale", body.constant([1, 2], np.int64))
    _arrange(body, body.op("Mul", integers, scale), order)
    name = weight.name.removesuffix("Weight") + TENSORS[order]
    attributes = dict.fromkeys([*body.attributes, "group"])
    return make_function(name, packed, ["y"], body.nodes, list(attributes), opset)


def _arrange(body: Body, value: str, order: Order) -> None:
    """``y``: [O, T, I] in ``order``, the inverse of `subbyte.graph.weight_layout.canonical`."""
    shape = body.attribute("tensor_shape", "ints")
    if order == "stored":
        body.op("Reshape", value, shape, output="y")
    elif order == "kernel":
        value = body.op("Transpose", value, perm=[0, 2, 1])
        body.op("Reshape", value, shape, output="y")
    elif order == "turned":
        groups = body.op("Reshape", body.attribute("group", "int"), body.constant([-1], np.int64))
        width = body.op("Shape", value, start=2)
        split = body.op("Concat", groups, body.constant([-1], np.int64), width, axis=0)
        value = body.op("Transpose", body.op("Reshape", value, split), perm=[0, 2, 1])
        body.op("Reshape", value, shape, output="y")
    else:
        rest = body.constant([-1], np.int64)
        groups = body.op("Reshape", body.attribute("group", "int"), rest)
        split = body.op("Concat", groups, rest, body.op("Shape", value, start=1), axis=0)
        value = body.op("Transpose", body.op("Reshape", value, split), perm=[0, 3, 1, 2])
        body.op("Reshape", value, shape, output="y")


def rows_function(weight: onnx.FunctionProto, method: str, variant: str) -> onnx.FunctionProto:
    """``indices`` and the packed arrays -> y float32 [*indices, *row_shape]: whole rows.

    ``indices``: any integers, from -O to O - 1. The weight has one tap.

    Attributes: the attributes of ``weight``, and ``row_shape``.
    """
    make = METHODS[method].row_nodes
    assert make is not None  # noqa: S101 - `rows_of` tells
    body = Body()
    rest = body.constant([-1], np.int64)
    flat = body.op("Cast", body.op("Reshape", "indices", rest), to=TensorProto.INT64)
    count = body.op("Shape", "scale")
    negative = body.op("Less", flat, body.constant(0, np.int64))
    body.op("Where", negative, body.op("Add", flat, count), flat, output="rows")
    nodes = make(variant)
    body.nodes += nodes
    integers = body.op("Cast", "row_int8", to=TensorProto.FLOAT)
    scale = body.op("Unsqueeze", "row_scale", body.constant([1], np.int64))
    value = body.op("Mul", integers, scale)
    sizes = body.op("Shape", "indices")
    shape = body.op("Concat", sizes, body.attribute("row_shape", "ints"), axis=0)
    body.op("Reshape", value, shape, output="y")
    body.nodes[-1].attribute.append(onnx.helper.make_attribute("allowzero", 1))
    name = weight.name.removesuffix("Weight") + ROWS
    attributes = dict.fromkeys([*reference_types(nodes), *weight.attribute, "row_shape"])
    inputs = ["indices", *weight.input]
    opset = weight.opset_import[0].version
    return make_function(name, inputs, ["y"], body.nodes, list(attributes), opset)


def has_rows(method: str) -> bool:
    """Whether single rows of a weight of ``method`` can be unpacked."""
    return METHODS[method].row_nodes is not None
