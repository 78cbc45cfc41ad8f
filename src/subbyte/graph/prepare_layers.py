"""Finding the layers of a prepared graph."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import onnx_ir as ir

from subbyte.errors import WeightError
from subbyte.graph.network import Layer, LayerOp
from subbyte.graph.prepare_affine import LAYERS
from subbyte.graph.prepare_edit import float_constant
from subbyte.methods.coded import WeightShape


def find_layers(model: ir.Model) -> tuple[Layer, ...]:
    """The convolutions and linear nodes with constant weight and bias, in execution order."""
    return tuple(
        _layer(node)
        for node in model.graph
        if (node.domain, node.op_type) in LAYERS
        and all(float_constant(value) is not None for value in node.inputs[1:] if value)
        and node.inputs[1] is not None
    )


def _layer(node: ir.Node) -> Layer:
    x, weight = node.inputs[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    array = float_constant(weight)
    if array is None or weight is None or x is None:
        raise TypeError(f"node {node.name} is no layer")
    for value in (weight, bias):
        constant = float_constant(value)
        if value is not None and constant is not None and not np.isfinite(constant).all():
            raise WeightError(
                "weights are not finite",
                where=f"initializer {value.name}, node {node.name}",
                expected="finite numbers",
                got="NaN or Inf",
            )
    groups = node.attributes.get_int("group", 1)
    attributes = {
        name: tuple(node.attributes.get_ints(name, ())) for name in ("strides", "dilations", "pads")
    }
    return Layer(
        name=str(node.name),
        op=cast(LayerOp, node.op_type),
        node=node,
        input=str(x.name),
        output=str(node.outputs[0].name),
        weight=str(weight.name),
        bias=None if bias is None else str(bias.name),
        shape=_weight_shape(node.op_type, array.shape, groups),
        kernel_shape=array.shape[2:],
        **attributes,
    )


def _weight_shape(op_type: str, shape: tuple[int, ...], groups: int) -> WeightShape:
    taps = math.prod(shape[2:])
    if op_type == "ConvTranspose":
        return WeightShape(shape[1] * groups, taps, shape[0] // groups, groups)
    return WeightShape(shape[0], taps, shape[1], groups)
