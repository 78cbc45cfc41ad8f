"""Operators that ONNX Runtime's own optimizer writes become the standard nodes they stand for.

So weights in them are coded as any layer's weights, gradients flow, and every runtime opens the
file; ONNX Runtime joins the nodes again when it opens it. Forms that are not covered here stay as
they are: ONNX Runtime runs them in the module (`subbyte.graph.module.foreign`). The operators are
documented in ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor
from subbyte.graph.passes.lowering.integer import INTEGER
from subbyte.graph.passes.lowering.replacement import MICROSOFT, Lowered, NodeWriter


def lower_contrib(model: ir.Model) -> bool:
    """Rewrite the nodes of ``model`` that can be, in place; whether there were any."""
    editor, found = Editor(model.graph), False
    for node in list(model.graph):
        lower = _LOWER.get((node.domain, node.op_type))
        if lower is None:
            continue
        writer = NodeWriter(editor, node)
        made = lower(writer)
        used = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        if made is None or not set(used) <= set(made):
            writer.drop()
        else:
            writer.finish(made)
            found = True
    return found


_ACTIVATION = ("activation", "activation_params", "activation_alpha", "activation_beta")


def _only(writer: NodeWriter, value: ir.Value | None) -> Lowered:
    return None if value is None else {writer.node.outputs[0]: value}


def _rest(node: ir.Node) -> dict[str, ir.Attr]:
    left_out = (*_ACTIVATION, "activation_gamma")
    return {name: entry for name, entry in node.attributes.items() if name not in left_out}


def _activated(writer: NodeWriter, x: ir.Value, name: str, numbers: list[float]) -> ir.Value | None:
    if name == "":
        return x
    if name in ("Relu", "Sigmoid", "Tanh"):
        return writer.op(name, x)
    if name == "LeakyRelu" and numbers:
        return writer.op(name, x, alpha=numbers[0])
    if name == "Clip" and len(numbers) > 1:
        return writer.op(name, x, numbers[0], numbers[1])
    if name == "HardSigmoid" and len(numbers) > 1:
        return writer.op(name, x, alpha=numbers[0], beta=numbers[1])
    return None


def _fused_conv(writer: NodeWriter) -> Lowered:
    """activation(conv(X) + Z)."""
    node = writer.node
    y = writer.op("Conv", *node.inputs[:3], **_rest(node))
    summand = writer.input(3)
    if summand is not None:
        y = writer.op("Add", y, summand)
    numbers = [float(x) for x in node.attributes.get_floats("activation_params", ())]
    name = node.attributes.get_string("activation", "")
    return _only(writer, _activated(writer, y, name, numbers))


def _fused_gemm(writer: NodeWriter) -> Lowered:
    """activation(gemm(A, B, C))."""
    node = writer.node
    y = writer.op("Gemm", *node.inputs, **_rest(node))
    given = [node.attributes.get(name) for name in ("activation_alpha", "activation_beta")]
    numbers = [float(entry.value) for entry in given if entry is not None]
    name = node.attributes.get_string("activation", "")
    return _only(writer, _activated(writer, y, name, numbers))


def _fused_matmul(writer: NodeWriter) -> Lowered:
    """alpha * A B, the last two axes of A or B turned."""
    node, sides = writer.node, []
    if any(node.attributes.get_int(name, 0) for name in ("transBatchA", "transBatchB")):
        return None
    for place, name in enumerate(("transA", "transB")):
        value = writer.value(place)
        if node.attributes.get_int(name, 0):
            rank = query.rank(value)
            if rank is None:
                return None
            if rank > 1:
                value = writer.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])
        sides.append(value)
    y = writer.op("MatMul", *sides)
    alpha = writer.number("alpha", 1.0)
    return _only(writer, y if alpha == 1.0 else writer.op("Mul", y, alpha))


def _gelu_of(writer: NodeWriter, x: ir.Value) -> ir.Value:
    """x / 2 (1 + erf(x / sqrt 2)), as ONNX Runtime recognises it."""
    phi = writer.op("Add", writer.op("Erf", writer.op("Div", x, math.sqrt(2))), 1.0)
    return writer.op("Mul", writer.op("Mul", x, phi), 0.5)


def _gelu(writer: NodeWriter) -> Lowered:
    return _only(writer, _gelu_of(writer, writer.value(0)))


def _bias_gelu(writer: NodeWriter) -> Lowered:
    return _only(writer, _gelu_of(writer, writer.op("Add", writer.value(0), writer.value(1))))


def _fast_gelu(writer: NodeWriter) -> Lowered:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) of x plus a bias."""
    x, bias = writer.value(0), writer.input(1)
    if bias is not None:
        x = writer.op("Add", x, bias)
    cube = writer.op("Mul", writer.op("Pow", x, 3.0), 0.044715)
    inner = writer.op("Mul", writer.op("Add", x, cube), math.sqrt(2 / math.pi))
    half = writer.op("Mul", x, 0.5)
    return _only(writer, writer.op("Mul", half, writer.op("Add", writer.op("Tanh", inner), 1.0)))


def _quick_gelu(writer: NodeWriter) -> Lowered:
    """x sigmoid(alpha x)."""
    x = writer.value(0)
    gate = writer.op("Sigmoid", writer.op("Mul", x, writer.number("alpha", 1.702)))
    return _only(writer, writer.op("Mul", x, gate))


def _summed(writer: NodeWriter, bias: ir.Value | None) -> ir.Value:
    total = writer.op("Add", writer.value(0), writer.value(1))
    return total if bias is None else writer.op("Add", total, bias)


def _skip_layer_norm(writer: NodeWriter) -> Lowered:
    """layer norm(input + skip + bias), and the sum itself as output 3."""
    total = _summed(writer, writer.input(4))
    epsilon = writer.number("epsilon", 1e-12)
    parts = [writer.value(2), writer.input(3)]
    y = writer.op("LayerNormalization", total, *parts, axis=-1, epsilon=epsilon)
    return dict(zip(writer.node.outputs[::3], (y, total), strict=False))


def _skip_rms_norm(writer: NodeWriter) -> Lowered:
    """s / sqrt(mean s^2 + epsilon) gamma of the sum s, and s itself as output 3."""
    total = _summed(writer, writer.input(3))
    square = writer.op("Mul", total, total)
    mean = writer.op("ReduceMean", square, writer.integers(-1), keepdims=1)
    root = writer.op("Sqrt", writer.op("Add", mean, writer.number("epsilon", 1e-12)))
    y = writer.op("Mul", writer.op("Div", total, root), writer.value(2))
    return dict(zip(writer.node.outputs[::3], (y, total), strict=False))


def _attention(writer: NodeWriter) -> Lowered:
    """One product for queries, keys and values; the rest is MultiHeadAttention, of ONNX Runtime
    too.

    Not with keys of the past, nor with masks that it takes in another form.
    """
    node, mask = writer.node, writer.input(3)
    weight = writer.value(1)
    width = None if weight.shape is None else weight.shape[-1]
    unusual = ("qkv_hidden_sizes", "do_rotary", "past_present_share_buffer")
    if any(name in node.attributes for name in unusual) or not isinstance(width, int):
        return None
    if (mask is not None and query.rank(mask) != 2) or writer.input(4) or writer.input(6):
        return None
    product = writer.op("MatMul", writer.value(0), weight)
    bias = writer.input(2)
    if bias is not None:
        product = writer.op("Add", product, bias)
    third = writer.integers(*[width // 3] * 3)
    q, k, v = writer.ops("Split", 3, product, third, axis=-1)
    kept = ("num_heads", "unidirectional", "mask_filter_value", "scale")
    attributes = {name: node.attributes[name] for name in kept if name in node.attributes}
    inputs = [q, k, v, None, mask, writer.input(5)]
    (y,) = writer.ops("MultiHeadAttention", 1, *inputs, domain=MICROSOFT, **attributes)
    return _only(writer, y)


_CONTRIB: dict[str, Callable[[NodeWriter], Lowered]] = {
    "Attention": _attention,
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    "TransposeMatMul": _fused_matmul,
}
_LOWER = INTEGER | {(MICROSOFT, name): lower for name, lower in _CONTRIB.items()}
