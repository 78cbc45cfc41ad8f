"""The functions of domain ``subbyte``: unpack a weight and compute, in standard operators.

Names: Method + Variant + Op + Form. Op is ``Conv``, ``ConvTranspose``, ``Linear`` (x[..., I] ->
y[..., O]) or ``LinearLeft`` (x[..., I, N] -> y[..., O, N]). ``Same`` after Conv or ConvTranspose:
padded by ``auto_pad``; ``Sized`` after ConvTranspose: padded to ``output_shape``. Forms:

- none: uint8 in, uint8 out. Conv takes and gives NHWC.
- ``Add``: y = quantize(dequantize(quantize(conv(x))) + r). The inner quantization lets onnxruntime
  fuse the two halves into QLinearConv and QLinearAdd.
- ``Dequant``: uint8 in, float out (Linear only): the last layer's scores stay exact.
- ``Float``: float in, float out, in ONNX's own layout.
- ``Unary<number>``: y = f(m), m the layer's own uint8 output and f a function of one value.

Quantized values are x = scale * (q - zero_point), uint8. A ReLU or a Clip needs no operator: the
saturation of the output quantization is the clamp.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from subbyte.graph.functions.binary_layer import binary_layer
from subbyte.graph.functions.body import (
    DOMAIN,
    TO_NCHW,
    TO_NHWC,
    Body,
    make_function,
    reference_types,
)
from subbyte.graph.functions.unpack import outline, unpack_function
from subbyte.methods import METHODS, Binarization

_WINDOW = {"kernel_shape": "ints", "strides": "ints", "dilations": "ints", "group": "int"}

PADDED = {"Same": {"auto_pad": "string"}, "Sized": {"auto_pad": "string", "output_shape": "ints"}}
"""Words behind Conv or ConvTranspose in a function's name, and attributes in place of pads."""

_PADS = {"pads": "ints"}

# Of a layer that a kernel computes by looking inner products up: how many bits it may drop
# from each (docs/format.md). The function itself drops none.
TABLE_SHIFT = "table_shift"

FORMS = ("", "Add", "Dequant", "Float")


def weight_functions(
    method: str, variant: str, inputs: Sequence[str], opset: int
) -> list[onnx.FunctionProto]:
    """``<Method><Variant>Weight`` (packed inputs -> weight_int8 [O, T, I], weight_scale [O]),
    after the function that it calls."""
    nodes = outline(METHODS[method].weight_nodes(variant))
    weight = make_function(
        f"{method.title()}{variant}Weight",
        inputs,
        ["weight_int8", "weight_scale"],
        nodes,
        list(reference_types(nodes)),
        opset,
    )
    calls = any(node.domain == DOMAIN for node in nodes)
    return [unpack_function(opset), weight] if calls else [weight]


def layer_function(
    weight: onnx.FunctionProto,
    op: str,
    form: str,
    opset: int,
    binarization: Binarization | None = None,
) -> onnx.FunctionProto:
    """The function of one kind of layer, on top of its weight function.

    ``binarization``: of x, before the weight is multiplied with it.

    Inputs: x, the packed arrays, bias; then, unless ``Float``, x_scale and x_zero; unless
    ``Dequant``, y_scale and y_zero; with ``Add``, r, r_scale, r_zero, m_scale, m_zero (the other
    summand, and the quantization before the sum). Attributes: the weight function's and the
    standard operator's.
    """
    body = Body()
    packed = list(weight.input)
    body.call(weight.name, packed, ["weight_int8", "weight_scale"])
    for name, kind in _attribute_kinds(weight).items():
        body.refer(**{name: kind})
    if binarization is not None:
        binary_layer(body, op, form, binarization)
    elif op.startswith("Linear"):
        _linear(body, op, form)
    else:
        _conv(body, op, form)
    inputs = ["x", *packed, "bias", *_quantization_inputs(form)]
    name = weight.name.removesuffix("Weight") + op + form
    attributes = [*body.attributes, *([] if form == "Float" else [TABLE_SHIFT])]
    return make_function(name, inputs, ["y"], body.nodes, attributes, opset)


def layer_with_unary(
    layer: onnx.FunctionProto, unary: onnx.FunctionProto, opset: int
) -> onnx.FunctionProto:
    """The function of a layer of the form without a name, with a function of one value behind it.

    It calls the two functions, one after the other.

    Inputs: the layer's (y_scale and y_zero are those of the result), then m_scale and m_zero, of
    the value between the two, and ``unary``'s table. Attributes: the layer's.
    """
    body = Body()
    between = {"y_scale": "m_scale", "y_zero": "m_zero"}
    body.call(layer.name, [between.get(name, name) for name in layer.input], ["m"])
    body.refer(**reference_types(layer.node), **{TABLE_SHIFT: "int"})
    body.call(unary.name, ["m", "m_scale", "m_zero", "y_scale", "y_zero", "table"], ["y"])
    inputs = [*layer.input, "m_scale", "m_zero", "table"]
    name = layer.name + unary.name
    return make_function(name, inputs, ["y"], body.nodes, list(layer.attribute), opset)


def _attribute_kinds(function: onnx.FunctionProto) -> dict[str, str]:
    kinds = reference_types(function.node)
    return {name: kinds[name] for name in function.attribute}


def _quantization_inputs(form: str) -> list[str]:
    if form == "Float":
        return []
    inputs = ["x_scale", "x_zero"]
    if form != "Dequant":
        inputs += ["y_scale", "y_zero"]
    if form == "Add":
        inputs += ["r", "r_scale", "r_zero", "m_scale", "m_zero"]
    return inputs


def _conv(body: Body, op: str, form: str) -> None:
    if form == "Float":
        weight = _float_weight(body)
        weight = _conv_layout(body, weight, transposed=op.startswith("ConvTranspose"))
        _convolve(body, op, "x", weight, output="y")
        return
    weight = _conv_layout(body, "weight_int8", transposed=False)
    weight = body.op("DequantizeLinear", weight, "weight_scale", axis=0)
    x = body.op("Transpose", "x", perm=TO_NCHW)
    x = body.op("DequantizeLinear", x, "x_scale", "x_zero")
    y = _convolve(body, op, x, weight)
    if form == "Add":
        y = body.op("QuantizeLinear", y, "m_scale", "m_zero")
        y = body.op("DequantizeLinear", y, "m_scale", "m_zero")
        r = body.op("Transpose", "r", perm=TO_NCHW)
        y = body.op("Add", y, body.op("DequantizeLinear", r, "r_scale", "r_zero"))
    y = body.op("QuantizeLinear", y, "y_scale", "y_zero")
    body.op("Transpose", y, perm=TO_NHWC, output="y")


def _convolve(body: Body, op: str, x: str, weight: str, output: str = "") -> str:
    """The standard Conv or ConvTranspose with the function's attributes."""
    y = body.op(_standard(op), x, weight, "bias", output=output)
    body.refer(**_WINDOW)
    body.refer(**next((kinds for end, kinds in PADDED.items() if op.endswith(end)), _PADS))
    if op.startswith("ConvTranspose"):
        body.refer(output_padding="ints")
    return y


def _standard(op: str) -> str:
    return next((op.removesuffix(end) for end in PADDED if op.endswith(end)), op)


def _float_weight(body: Body) -> str:
    """weight_scale * weight_int8, float32 [O, T, I]: foldable, as DequantizeLinear is not."""
    integers = body.op("Cast", "weight_int8", to=TensorProto.FLOAT)
    trailing = body.constant([1, 2], np.int64)
    scale = body.op("Unsqueeze", "weight_scale", trailing)
    return body.op("Mul", integers, scale)


def _conv_layout(body: Body, weight: str, transposed: bool) -> str:
    """[O, T, I] -> [O, I, *kernel], or for ConvTranspose [groups * I, O / groups, *kernel]."""
    if transposed:
        weight = _transposed_layout(body, weight)
    else:
        weight = body.op("Transpose", weight, perm=[0, 2, 1])
    kernel = body.attribute("kernel_shape", "ints")
    shape = body.op("Concat", body.constant([0, 0], np.int64), kernel, axis=0)
    return body.op("Reshape", weight, shape)


def _transposed_layout(body: Body, weight: str) -> str:
    """[O, T, I] -> [groups * I, O / groups, T]."""
    rest = body.constant([-1], np.int64)
    groups = body.op("Reshape", body.attribute("group", "int"), rest)
    inner = body.op("Shape", weight, start=1)
    split = body.op("Concat", groups, rest, inner, axis=0)
    weight = body.op("Reshape", weight, split)
    weight = body.op("Transpose", weight, perm=[0, 3, 1, 2])
    outer = body.op("Shape", weight, start=2)
    return body.op("Reshape", weight, body.op("Concat", rest, outer, axis=0))


def _linear(body: Body, op: str, form: str) -> None:
    if form == "Float":
        _float_linear(body, left=op == "LinearLeft")
        return
    weight = body.op("Transpose", "weight_int8", perm=[2, 0, 1])
    weight = body.op("Reshape", weight, body.constant([0, -1], np.int64))
    weight = body.op("DequantizeLinear", weight, "weight_scale", axis=1)
    x = body.op("DequantizeLinear", "x", "x_scale", "x_zero")
    product = body.op("MatMul", x, weight)
    # As Add, onnxruntime would fuse MatMul and bias to a float Gemm before it looks for
    # integer operators; as Sub, the product becomes MatMulIntegerToFloat for any rank.
    negative = body.op("Neg", "bias")
    y = body.op("Sub", product, negative, output="y" if form == "Dequant" else "")
    if form != "Dequant":
        body.op("QuantizeLinear", y, "y_scale", "y_zero", output="y")


def _float_linear(body: Body, left: bool) -> None:
    weight = _float_weight(body)
    perm = [0, 2, 1] if left else [2, 0, 1]
    weight = body.op("Transpose", weight, perm=perm)
    weight = body.op("Reshape", weight, body.constant([0, -1], np.int64))
    if left:
        product = body.op("MatMul", weight, "x")
        bias = body.op("Unsqueeze", "bias", body.constant([1], np.int64))
        body.op("Add", product, bias, output="y")
    else:
        body.op("Add", body.op("MatMul", "x", weight), "bias", output="y")
