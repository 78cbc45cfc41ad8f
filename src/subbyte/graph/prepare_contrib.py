"""Operators that ONNX Runtime's own optimizer writes become the standard nodes they stand for.

So weights in them are coded as those of any layer, gradients flow, and every runtime opens the
file; ONNX Runtime joins the nodes again when it opens it. Forms that are not covered here stay
as they are: ONNX Runtime runs them in the module (`subbyte.graph.ops.foreign`). What the
operators compute is documented in ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from subbyte.graph.prepare_edit import Editor, rank_of

DOMAIN = "com.microsoft"


def lower_contrib(model: ir.Model) -> bool:
    """Rewrite the nodes of ``model`` that can be, in place; whether there were any."""
    editor, found = Editor(model.graph), False
    for node in list(model.graph):
        lower = _LOWER.get(node.op_type) if node.domain == DOMAIN else None
        if lower is None:
            continue
        writer = _Writer(editor, node)
        made = lower(writer)
        used = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        if made is None or not set(used) <= set(made):
            writer.drop()
        else:
            writer.finish(made)
            found = True
    return found


class _Writer:
    """Makes the nodes that stand for ``node``; `finish` puts them in its place."""

    def __init__(self, editor: Editor, node: ir.Node) -> None:
        self.editor, self.node = editor, node
        self.made: list[ir.Node] = []
        self.constants: list[ir.Value] = []

    def input(self, place: int) -> ir.Value | None:
        """Input ``place``, None where it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else None

    def value(self, place: int) -> ir.Value:
        """Input ``place``, which the operator needs."""
        found = self.input(place)
        if found is None:
            raise ValueError(f"node {self.node.name} has no input {place}")
        return found

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.node.attributes.get_float(name, default))

    def op(self, kind: str, *inputs: ir.Value | float | None, **attributes: Any) -> ir.Value:
        """The output of a new standard node; a number becomes a float32 constant."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(
        self,
        kind: str,
        count: int,
        *inputs: ir.Value | float | None,
        domain: str = "",
        **attributes: Any,
    ) -> list[ir.Value]:
        """The outputs of a new node."""
        name = f"{self.node.name}.{len(self.made)}"
        values = [self._constant(x) if isinstance(x, float) else x for x in inputs]
        made = ir.node(kind, values, attributes, domain=domain, num_outputs=count, name=name)
        self.made.append(made)
        return list(made.outputs)

    def integers(self, *entries: int) -> ir.Value:
        """A constant of int64."""
        return self._constant(np.array(entries, np.int64))

    def _constant(self, array: Any) -> ir.Value:
        array = np.float32(array) if isinstance(array, float) else array
        value = self.editor.constant(f"{self.node.name}.constant", np.asarray(array))
        self.constants.append(value)
        return value

    def drop(self) -> None:
        """Leave no trace: the node stays."""
        for node in self.made:
            for place in range(len(node.inputs)):
                node.replace_input_with(place, None)
        for value in self.constants:
            del self.editor.graph.initializers[str(value.name)]

    def finish(self, made: dict[ir.Value, ir.Value]) -> None:
        """Put the nodes in the place of the one that they stand for."""
        graph = self.editor.graph
        for node in self.made:
            for value in node.outputs:
                value.name = self.editor.unique(str(node.name))
        # A layer keeps its name, by which plans and reports know it.
        main = next((node for node in self.made if node.op_type in _LAYERS), None)
        if main is not None:
            main.name = self.node.name
        graph.insert_before(self.node, self.made)
        for old, new in made.items():
            new.type, new.shape = old.type, old.shape
            name, old.name = old.name, self.editor.unique(f"{old.name}.fused")
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            new.name = name
        graph.remove(self.node, safe=True)


Lowered = dict[ir.Value, ir.Value] | None
"""What stands for each output that is covered; None for a form that is not."""

_LAYERS = ("Conv", "Gemm", "MatMul")
_ACTIVATION = ("activation", "activation_params", "activation_alpha", "activation_beta")


def _only(writer: _Writer, value: ir.Value | None) -> Lowered:
    return None if value is None else {writer.node.outputs[0]: value}


def _rest(node: ir.Node) -> dict[str, ir.Attr]:
    left_out = (*_ACTIVATION, "activation_gamma")
    return {name: entry for name, entry in node.attributes.items() if name not in left_out}


def _activated(writer: _Writer, x: ir.Value, name: str, numbers: list[float]) -> ir.Value | None:
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


def _fused_conv(writer: _Writer) -> Lowered:
    """activation(conv(X) + Z)."""
    node = writer.node
    y = writer.op("Conv", *node.inputs[:3], **_rest(node))
    summand = writer.input(3)
    if summand is not None:
        y = writer.op("Add", y, summand)
    numbers = [float(x) for x in node.attributes.get_floats("activation_params", ())]
    name = node.attributes.get_string("activation", "")
    return _only(writer, _activated(writer, y, name, numbers))


def _fused_gemm(writer: _Writer) -> Lowered:
    """activation(gemm(A, B, C))."""
    node = writer.node
    y = writer.op("Gemm", *node.inputs, **_rest(node))
    given = [node.attributes.get(name) for name in ("activation_alpha", "activation_beta")]
    numbers = [float(entry.value) for entry in given if entry is not None]
    name = node.attributes.get_string("activation", "")
    return _only(writer, _activated(writer, y, name, numbers))


def _fused_matmul(writer: _Writer) -> Lowered:
    """alpha * A B, the last two axes of A or B turned."""
    node, sides = writer.node, []
    if any(node.attributes.get_int(name, 0) for name in ("transBatchA", "transBatchB")):
        return None
    for place, name in enumerate(("transA", "transB")):
        value = writer.value(place)
        if node.attributes.get_int(name, 0):
            rank = rank_of(value)
            if rank is None:
                return None
            if rank > 1:
                value = writer.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])
        sides.append(value)
    y = writer.op("MatMul", *sides)
    alpha = writer.number("alpha", 1.0)
    return _only(writer, y if alpha == 1.0 else writer.op("Mul", y, alpha))


def _gelu_of(writer: _Writer, x: ir.Value) -> ir.Value:
    """x / 2 (1 + erf(x / sqrt 2)), as ONNX Runtime recognises it."""
    phi = writer.op("Add", writer.op("Erf", writer.op("Div", x, math.sqrt(2))), 1.0)
    return writer.op("Mul", writer.op("Mul", x, phi), 0.5)


def _gelu(writer: _Writer) -> Lowered:
    return _only(writer, _gelu_of(writer, writer.value(0)))


def _bias_gelu(writer: _Writer) -> Lowered:
    return _only(writer, _gelu_of(writer, writer.op("Add", writer.value(0), writer.value(1))))


def _fast_gelu(writer: _Writer) -> Lowered:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) of x plus a bias."""
    x, bias = writer.value(0), writer.input(1)
    if bias is not None:
        x = writer.op("Add", x, bias)
    cube = writer.op("Mul", writer.op("Pow", x, 3.0), 0.044715)
    inner = writer.op("Mul", writer.op("Add", x, cube), math.sqrt(2 / math.pi))
    half = writer.op("Mul", x, 0.5)
    return _only(writer, writer.op("Mul", half, writer.op("Add", writer.op("Tanh", inner), 1.0)))


def _quick_gelu(writer: _Writer) -> Lowered:
    """x sigmoid(alpha x)."""
    x = writer.value(0)
    gate = writer.op("Sigmoid", writer.op("Mul", x, writer.number("alpha", 1.702)))
    return _only(writer, writer.op("Mul", x, gate))


def _summed(writer: _Writer, bias: ir.Value | None) -> ir.Value:
    total = writer.op("Add", writer.value(0), writer.value(1))
    return total if bias is None else writer.op("Add", total, bias)


def _skip_layer_norm(writer: _Writer) -> Lowered:
    """layer norm(input + skip + bias), and the sum itself as output 3."""
    total = _summed(writer, writer.input(4))
    epsilon = writer.number("epsilon", 1e-12)
    parts = [writer.value(2), writer.input(3)]
    y = writer.op("LayerNormalization", total, *parts, axis=-1, epsilon=epsilon)
    return dict(zip(writer.node.outputs[::3], (y, total), strict=False))


def _skip_rms_norm(writer: _Writer) -> Lowered:
    """s / sqrt(mean s^2 + epsilon) gamma of the sum s, and s itself as output 3."""
    total = _summed(writer, writer.input(3))
    square = writer.op("Mul", total, total)
    mean = writer.op("ReduceMean", square, writer.integers(-1), keepdims=1)
    root = writer.op("Sqrt", writer.op("Add", mean, writer.number("epsilon", 1e-12)))
    y = writer.op("Mul", writer.op("Div", total, root), writer.value(2))
    return dict(zip(writer.node.outputs[::3], (y, total), strict=False))


def _attention(writer: _Writer) -> Lowered:
    """One product for queries, keys and values; what is left is MultiHeadAttention, of ONNX
    Runtime too. Not with keys of the past, nor with masks that it takes in another form."""
    node, mask = writer.node, writer.input(3)
    weight = writer.value(1)
    width = None if weight.shape is None else weight.shape[-1]
    unusual = ("qkv_hidden_sizes", "do_rotary", "past_present_share_buffer")
    if any(name in node.attributes for name in unusual) or not isinstance(width, int):
        return None
    if (mask is not None and rank_of(mask) != 2) or writer.input(4) or writer.input(6):
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
    (y,) = writer.ops("MultiHeadAttention", 1, *inputs, domain=DOMAIN, **attributes)
    return _only(writer, y)


_LOWER: dict[str, Callable[[_Writer], Lowered]] = {
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
