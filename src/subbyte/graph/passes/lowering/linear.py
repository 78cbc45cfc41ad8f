"""Gemm and MatMul with a constant side become ``Linear`` nodes with weight W[O, I].

A constant on the right, x @ B, contracts the last axis of x: W = B^T, axis -1. A constant
on the left, A @ x, contracts the last but one axis: W = A, axis -2. Leading axes of length one
of the constant are dropped where x has as many axes. A following constant bias is merged by
`subbyte.graph.passes.fold_batchnorm`. An Einsum with a constant side becomes such a product first
(`subbyte.graph.passes.lowering.einsum`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.ops import PREPARED
from subbyte.graph.passes.editor import Editor, describe
from subbyte.graph.passes.lowering.binary import keep_binarization
from subbyte.graph.passes.lowering.einsum import normalize_einsum


def normalize_linear(model: ir.Model) -> None:
    """Rewrite every Gemm, MatMul and Einsum that has one constant matrix."""
    normalize_einsum(model)
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type == "MatMul" and node.domain == "":
            _rewrite_matmul(editor, node)
        elif node.op_type == "Gemm" and node.domain == "":
            _rewrite_gemm(editor, node)
    editor.finish()
    if any(node.domain == PREPARED for node in model.graph):
        model.opset_imports[PREPARED] = 1


def _linear(
    x: ir.Value | None, weight: ir.Value, bias: ir.Value | None, axis: int, name: str | None
) -> ir.Node:
    inputs = [x, weight] if bias is None else [x, weight, bias]
    return ir.node("Linear", inputs, {"axis": axis}, domain=PREPARED, name=name)


def _rewrite_matmul(editor: Editor, node: ir.Node) -> None:
    left, right = node.inputs
    a, b = _matrix(left, right), _matrix(right, left)
    if (a is None) == (b is None):
        return
    if b is not None and b.ndim == 2 and right is not None and query.rank(left) != 0:
        weight = _gemm_weight(editor, right, b, 1.0, True)
        if left is not None and query.rank(left) == 1:
            _replace_by_row(editor, node, left, weight)
            return
        linear = _linear(left, weight, None, -1, node.name)
        editor.replace([node], keep_binarization(node, linear))
    elif a is not None and a.ndim == 2 and left is not None:
        rank = query.rank(right)
        if rank is not None:
            weight = _gemm_weight(editor, left, a, 1.0, False)
            if right is not None and rank == 1:
                _replace_by_row(editor, node, right, weight)
                return
            editor.replace([node], _linear(right, weight, None, -2, node.name))


def _replace_by_row(editor: Editor, node: ir.Node, x: ir.Value, weight: ir.Value) -> None:
    """Replace the product of a vector [K], as networks without a batch have it.

    The product of the row [1, K] takes its place: a layer's input has rows.
    """
    sizes = {"row": [1, -1], "flat": [-1]}
    shapes = {k: editor.constant(f"{node.name}.{k}", np.array(v)) for k, v in sizes.items()}
    row = ir.node("Reshape", [x, shapes["row"]], name=f"{node.name}.row")
    linear = keep_binarization(node, _linear(row.outputs[0], weight, None, -1, node.name))
    outputs, inputs = query.known(weight).shape
    for made, width in ((row, inputs), (linear, outputs)):
        value = made.outputs[0]
        value.name = editor.unique(f"{made.name}.value")
        value.type, value.shape = x.type, ir.Shape([1, width])
        editor.graph.insert_before(node, made)
    flat = ir.node("Reshape", [linear.outputs[0], shapes["flat"]], name=f"{node.name}.flat")
    editor.replace([node], flat)


def _matrix(value: ir.Value | None, other: ir.Value | None) -> NDArray[Any] | None:
    """The array of a constant, without leading axes of length one that ``other`` has anyway."""
    array = query.float_constant(value)
    rank = query.rank(other)
    if array is None or array.ndim < 3 or rank is None or rank < array.ndim:
        return array
    return array.reshape(array.shape[-2:]) if set(array.shape[:-2]) == {1} else array


def _rewrite_gemm(editor: Editor, node: ir.Node) -> None:
    arrays = [query.float_constant(value) for value in node.inputs[:2]]
    if (arrays[0] is None) == (arrays[1] is None):
        return
    side = 0 if arrays[1] is None else 1
    source, x, array = node.inputs[side], node.inputs[1 - side], arrays[side]
    if source is None or x is None or array is None or array.ndim != 2:
        return
    flips = [bool(node.attributes.get_int(name, 0)) for name in ("transA", "transB")]
    axis = -1 if side == 1 else -2
    turn = flips[side] != (side == 1)
    weight = _gemm_weight(editor, source, array, node.attributes.get_float("alpha", 1.0), turn)
    if flips[1 - side]:
        x = _transposed(editor, x, node)
    outputs = array.shape[1] if turn else array.shape[0]
    bias, rest = _gemm_bias(editor, node, outputs, axis)
    linear = _linear(x, weight, bias, axis, node.name)
    if rest is None:
        editor.replace([node], linear)
    else:
        _add_rest(editor, node, linear, rest)


def _gemm_weight(
    editor: Editor, source: ir.Value, array: NDArray[Any], alpha: float, turn: bool
) -> ir.Value:
    stored = query.float_constant(source)
    if not turn and alpha == 1.0 and stored is not None and stored.shape == array.shape:
        return source
    matrix = array.T if turn else array
    scaled = matrix if alpha == 1.0 else (alpha * matrix).astype(array.dtype)
    return editor.derive(source, f"linear{'t' if turn else ''}{alpha:g}", scaled)


def _transposed(editor: Editor, x: ir.Value, node: ir.Node) -> ir.Value:
    flip = ir.node("Transpose", [x], {"perm": [1, 0]}, name=f"{node.name}.transpose")
    flip.outputs[0].name = editor.unique(f"{x.name}.transpose")
    flip.outputs[0].type = x.type
    if x.shape is not None:
        flip.outputs[0].shape = ir.Shape([x.shape[1], x.shape[0]])
    editor.graph.insert_before(node, flip)
    return flip.outputs[0]


def _gemm_bias(
    editor: Editor, node: ir.Node, outputs: int, axis: int
) -> tuple[ir.Value | None, ir.Value | None]:
    """(bias[O] if C is one bias per output, else None; the rest that is left to add, else None)."""
    c = node.inputs[2] if len(node.inputs) > 2 else None
    beta = node.attributes.get_float("beta", 1.0)
    if c is None or beta == 0.0:
        return None, None
    array = query.float_constant(c)
    if array is not None:
        column = _as_column(array, outputs, axis)
        if column is not None:
            if beta == 1.0 and column.shape == array.shape:
                return c, None
            return editor.derive(c, f"bias{beta:g}", (beta * column).astype(array.dtype)), None
        if beta != 1.0:
            return None, editor.derive(c, f"beta{beta:g}", (beta * array).astype(array.dtype))
    if beta != 1.0:
        scale = editor.constant(f"{node.name}.beta", np.array(beta, dtype=np.float32))
        times = ir.node("Mul", [c, scale], name=f"{node.name}.mul")
        times.outputs[0].name = editor.unique(f"{c.name}.mul")
        describe(times.outputs[0], c)
        editor.graph.insert_before(node, times)
        return None, times.outputs[0]
    return None, c


def _as_column(array: NDArray[Any], outputs: int, axis: int) -> NDArray[Any] | None:
    """C as one number per output, if it has this form: [1 or O] along the output axis only."""
    shape = (1,) * (2 - array.ndim) + array.shape
    along, across = (shape[1], shape[0]) if axis == -1 else (shape[0], shape[1])
    if across != 1 or along not in (1, outputs):
        return None
    return np.broadcast_to(array.reshape(-1), (outputs,))


def _add_rest(editor: Editor, node: ir.Node, linear: ir.Node, rest: ir.Value) -> None:
    product = linear.outputs[0]
    product.name = editor.unique(f"{node.outputs[0].name}.product")
    describe(product, node.outputs[0])
    editor.graph.insert_before(node, linear)
    editor.replace([node], ir.node("Add", [product, rest], name=f"{node.name}.add"))
