"""Finding the layers of a prepared graph."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import onnx_ir as ir

from subbyte.errors import WeightError
from subbyte.graph import query
from subbyte.graph.network import Layer, LayerOp
from subbyte.graph.passes.fold_batchnorm import LAYERS
from subbyte.graph.passes.lowering.binary import binarization_of_node
from subbyte.methods.coded import WeightShape


def find_layers(model: ir.Model) -> tuple[Layer, ...]:
    """The convolutions and linear nodes with constant weight and bias, in execution order.

    A node whose input is constant too is no layer: no sample moves it.
    """
    return tuple(
        _layer(node)
        for node in model.graph
        if (node.domain, node.op_type) in LAYERS
        and all(query.float_constant(value) is not None for value in node.inputs[1:] if value)
        and node.inputs[1] is not None
        and not query.is_constant(node.inputs[0])
    )


def _layer(node: ir.Node) -> Layer:
    x, weight = node.inputs[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    array = query.float_constant(weight)
    if array is None or weight is None or x is None:
        raise TypeError(f"node {node.name} is no layer")
    for value in (weight, bias):
        constant = query.float_constant(value)
        if value is not None and constant is not None and not np.isfinite(constant).all():
            raise WeightError(
                "weights are not finite",
                where=f"initializer {value.name}, node {node.name}",
                expected="finite numbers",
                got="NaN or Inf",
            )
    groups = node.attributes.get_int("group", 1)
    _check_shape(node, array.shape, groups)
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
        binarization=binarization_of_node(node),
        kernel_shape=array.shape[2:],
        **attributes,
    )


def _check_shape(node: ir.Node, shape: tuple[int, ...], groups: int) -> None:
    """Raise `WeightError` if the weight's shape fits neither operator nor input."""
    linear = node.op_type == "Linear"
    sizes = query.static_sizes(node.inputs[0])
    channels = None
    if sizes:
        axis = node.attributes.get_int("axis", -1) if linear else 1
        channels = sizes[axis] if -len(sizes) <= axis < len(sizes) else None
    fits = len(shape) == 2 if linear else len(shape) in (3, 4, 5)
    expected = f"{node.op_type} weight"
    if fits and min(shape) > 0 and groups > 0 and shape[0] % groups == 0:
        wanted = shape[0] if node.op_type == "ConvTranspose" else shape[1] * groups
        fits, expected = channels in (None, wanted), f"one for {channels} input channels"
    else:
        fits = False
    if not fits:
        raise WeightError(
            "weight of an impossible shape",
            where=f"node {node.name}",
            expected=expected,
            got=f"{list(shape)}" + (f" in {groups} groups" if groups != 1 else ""),
        )


def _weight_shape(op_type: str, shape: tuple[int, ...], groups: int) -> WeightShape:
    taps = math.prod(shape[2:])
    if op_type == "ConvTranspose":
        return WeightShape(shape[1] * groups, taps, shape[0] // groups, groups)
    return WeightShape(shape[0], taps, shape[1], groups)
