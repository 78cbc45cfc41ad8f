"""The function bodies of layers whose input is binarized (`subbyte.methods.binarization`).

A convolution takes its receptive fields apart by Gather, which moves values and computes nothing;
padding is the code that stands for zero. Codes of uint8 values are binarized less their zero point,
as whole numbers. Then the sums of |r_0|, and the means made of them, are the same in every runtime.
So are the signs of order 2 where a value is the mean. The scale of x goes into the output's scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto

from subbyte.graph.functions.body import TO_NCHW, TO_NHWC, Body
from subbyte.methods import Binarization

# Order k - 1 and the residual r_{k-1} -> beta_k and scale_k: the factor that its signs take
# away from it, and their factor in the sum.
Measure = Callable[[int, str], tuple[str, str]]

# A receptive field's values, [taps, inputs], in [groups, N, positions, taps, inputs].
_FIELD, _TAP = (3, 4), (4,)


def binary_layer(body: Body, op: str, form: str, binarization: Binarization) -> None:
    """y of a convolution (NHWC; NCHW in form ``Float``) or a linear layer."""
    if op not in ("Conv", "Linear"):
        raise ValueError(f"binary has no operator {op!r}")
    build = _linear if op == "Linear" else _conv
    product = build(body, form, binarization)
    scale = "weight_scale" if form == "Float" else body.op("Mul", "weight_scale", "x_scale")
    scaled = body.op("Mul", product, scale)
    if form == "Float":
        y = body.op("Add", scaled, "bias", output="y" if op == "Linear" else "")
        if op == "Conv":
            body.op("Transpose", y, perm=TO_NCHW, output="y")
        return
    y = body.op("Add", scaled, "bias", output="y" if form == "Dequant" else "")
    if form == "Add":
        y = body.op("QuantizeLinear", y, "m_scale", "m_zero")
        y = body.op("DequantizeLinear", y, "m_scale", "m_zero")
        y = body.op("Add", y, body.op("DequantizeLinear", "r", "r_scale", "r_zero"))
    if form != "Dequant":
        body.op("QuantizeLinear", y, "y_scale", "y_zero", output="y")


def _linear(body: Body, form: str, binarization: Binarization) -> str:
    """A row of x is one vector, for every way to share scales."""
    inputs = body.op("Cast", body.op("Shape", "weight_int8", start=2), to=TensorProto.FLOAT)

    def measure(k: int, rest: str) -> tuple[str, str]:
        beta = body.op("Div", _sum(body, body.op("Abs", rest), (-1,)), inputs)
        return beta, beta

    x = "x" if form == "Float" else _centred(body, "x")
    approximation = _approximate(body, x, binarization.order, measure)
    weight = body.op("Cast", "weight_int8", to=TensorProto.FLOAT)
    weight = body.op("Transpose", weight, perm=[2, 0, 1])
    weight = body.op("Reshape", weight, body.constant([0, -1], np.int64))
    return body.op("MatMul", approximation, weight)


def _conv(body: Body, form: str, binarization: Binarization) -> str:
    """[N, H, W, O] of [N, H, W, C]: one product of receptive fields and weights per group."""
    group = body.op("Reshape", body.attribute("group", "int"), body.constant([-1], np.int64))
    x = body.op("Transpose", "x", perm=TO_NHWC) if form == "Float" else "x"
    fields, sizes = _fields(body, x, form, group)
    if form != "Float":
        fields = _centred(body, fields)
    if binarization.scales == "image":
        image = x if form == "Float" else _centred(body, x)
        measure = _by_image(body, image, binarization.order, group)
    else:
        measure = _by_field(body, binarization)
    approximation = _approximate(body, fields, binarization.order, measure)
    n = body.op("ReduceProd", body.op("Shape", "weight_int8", start=1), keepdims=1)
    rows = body.op("ReduceProd", sizes, keepdims=1)
    shape = body.op("Concat", group, rows, n, axis=0)
    approximation = body.op("Reshape", approximation, shape)
    weight = body.op("Cast", "weight_int8", to=TensorProto.FLOAT)
    shape = body.op("Concat", group, body.constant([-1], np.int64), n, axis=0)
    weight = body.op("Transpose", body.op("Reshape", weight, shape), perm=[0, 2, 1])
    product = body.op("Transpose", body.op("MatMul", approximation, weight), perm=[1, 0, 2])
    outputs = body.op("Shape", "weight_int8", end=1)
    return body.op("Reshape", product, body.op("Concat", sizes, outputs, axis=0))


def _fields(body: Body, x: str, form: str, group: str) -> tuple[str, str]:
    """Receptive fields [groups, N, positions, taps, inputs], and [N, H', W'] as int64 [3]."""
    ints = body.constant
    pads = body.attribute("pads", "ints")
    none = ints([0], np.int64)
    before, after = (body.op("Gather", pads, ints(at, np.int64)) for at in ([0, 1], [2, 3]))
    around = body.op("Concat", none, before, none, none, after, none, axis=0)
    fill = ints(0, np.float32) if form == "Float" else "x_zero"
    padded = body.op("Pad", x, around, fill)
    out, indices = _positions(body, padded)
    rows = body.op("Gather", padded, indices[0], axis=1)
    gathered = body.op("Gather", rows, indices[1], axis=3)
    taps_inputs = body.op("Shape", "weight_int8", start=1)
    inputs = body.op("Shape", "weight_int8", start=2)
    split = body.op("Concat", ints([0] * 5, np.int64), group, inputs, axis=0)
    split = body.op("Reshape", gathered, split)
    turned = body.op("Transpose", split, perm=[5, 0, 1, 3, 2, 4, 6])
    count = body.op("ReduceProd", out, keepdims=1)
    batch = body.op("Shape", x, end=1)
    # With a 0 in the batch's place, onnxruntime writes -1 for the count, which no batch of none
    # can be reshaped to.
    shape = body.op("Concat", ints([0], np.int64), batch, count, taps_inputs, axis=0)
    return body.op("Reshape", turned, shape), body.op("Concat", batch, out, axis=0)


def _positions(body: Body, padded: str) -> tuple[str, list[str]]:
    """Output height and width [2]; for each axis, input places [positions, taps] of its windows."""
    kernel, strides, dilations = (
        body.attribute(name, "ints") for name in ("kernel_shape", "strides", "dilations")
    )
    one, zero, step = (body.constant(value, np.int64) for value in ([1], 0, 1))
    reach = body.op("Mul", body.op("Sub", kernel, one), dilations)
    room = body.op("Sub", body.op("Sub", body.op("Shape", padded, start=1, end=3), reach), one)
    out = body.op("Add", body.op("Div", room, strides), one)
    indices = []
    for axis in range(2):
        at = body.constant(axis, np.int64)
        firsts, taps = (
            body.op("Mul", body.op("Range", zero, body.op("Gather", count, at), step), each)
            for count, each in (
                (out, body.op("Gather", strides, at)),
                (kernel, body.op("Gather", dilations, at)),
            )
        )
        indices.append(body.op("Add", body.op("Unsqueeze", firsts, one), taps))
    return out, indices


def _by_field(body: Body, binarization: Binarization) -> Measure:
    """Scales of each receptive field (``column``), or of each pixel in it (``pixel``)."""
    shape = body.op("Shape", "weight_int8", start=1)
    n = body.op("Cast", body.op("ReduceProd", shape, keepdims=1), to=TensorProto.FLOAT)
    inputs = body.op("Cast", body.op("Shape", "weight_int8", start=2), to=TensorProto.FLOAT)

    def column(k: int, rest: str) -> tuple[str, str]:
        beta = body.op("Div", _sum(body, body.op("Abs", rest), _FIELD), n)
        return beta, beta

    def pixel(k: int, rest: str) -> tuple[str, str]:
        sums = _sum(body, body.op("Abs", rest), _TAP)
        scale = body.op("Div", _sum(body, sums, (3,)), n)
        return body.op("Div", sums, inputs), scale

    return column if binarization.scales == "column" else pixel


def _by_image(body: Body, x: str, order: int, group: str) -> Measure:
    """Scales of each image and group, found on the image [N, H, W, C] itself."""
    inputs = body.op("Shape", "weight_int8", start=2)
    split = body.op("Concat", body.constant([0] * 3, np.int64), group, inputs, axis=0)
    image = body.op("Transpose", body.op("Reshape", x, split), perm=[3, 0, 1, 2, 4])
    count = body.op("ReduceProd", body.op("Shape", image, start=2), keepdims=1)
    count = body.op("Cast", count, to=TensorProto.DOUBLE)
    found: list[str] = []
    for _ in range(order):
        if found:
            image = body.op("Sub", image, body.op("Mul", found[-1], _signs(body, image)))
        # An image's values are too many for exact sums in float32.
        wide = body.op("Cast", body.op("Abs", image), to=TensorProto.DOUBLE)
        mean = body.op("Div", _sum(body, wide, (2, 3, 4)), count)
        found.append(body.op("Cast", mean, to=TensorProto.FLOAT))
    return lambda k, rest: (found[k], found[k])


def _approximate(body: Body, values: str, order: int, measure: Measure) -> str:
    """The sum over k of scale_k * sign(r_{k-1})."""
    rest, total = values, ""
    for k in range(order):
        beta, scale = measure(k, rest)
        signs = _signs(body, rest)
        term = body.op("Mul", scale, signs)
        total = body.op("Add", total, term) if total else term
        if k + 1 < order:
            taken = term if beta == scale else body.op("Mul", beta, signs)
            rest = body.op("Sub", rest, taken)
    return total


def _signs(body: Body, values: str) -> str:
    """-1 or 1; 1 for zeros."""
    zero, minus, plus = (body.constant(value, np.float32) for value in (0, -1, 1))
    return body.op("Where", body.op("Less", values, zero), minus, plus)


def _sum(body: Body, values: str, axes: Sequence[int]) -> str:
    return body.op("ReduceSum", values, body.constant(axes, np.int64), keepdims=1)


def _centred(body: Body, codes: str) -> str:
    """Codes less x_zero: whole numbers, as float32."""
    zero = body.op("Cast", "x_zero", to=TensorProto.FLOAT)
    return body.op("Sub", body.op("Cast", codes, to=TensorProto.FLOAT), zero)
