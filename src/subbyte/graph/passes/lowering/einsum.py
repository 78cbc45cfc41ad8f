"""An Einsum of a moving tensor and a constant, where it is a product of matrices, as a MatMul.

Of the letters that both sides have, the ones that the result has too count matrices (h), the others
are summed (k); m are the moving side's own letters, n the constant's. The moving side is brought to
[m.., h.., m', k], the constant to [h.., k, n]. The result of MatMul, [m.., h.., m', n], is split
and turned to the result of Einsum. Letters of one side alone that the result has not are summed
first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subbyte.graph import query
from subbyte.graph.passes.editor import Editor


@dataclass(frozen=True)
class _Product:
    """Letters: of the moving side in the order that MatMul needs (``m``, ``h``, ``last``, then
    ``k``), of the constant (``h``, ``k``, ``n``), and of the result."""

    moving: str
    constant: str
    result: str

    @property
    def h(self) -> str:
        return "".join(c for c in self.constant if c in self.moving and c in self.result)

    @property
    def k(self) -> str:
        return "".join(c for c in self.constant if c in self.moving and c not in self.result)

    @property
    def n(self) -> str:
        return "".join(c for c in self.constant if c not in self.moving and c in self.result)

    @property
    def m(self) -> str:
        return "".join(c for c in self.moving if c not in self.constant and c in self.result)


def normalize_einsum(model: ir.Model) -> None:
    """Rewrite every Einsum that is the product of a moving tensor and a constant."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type == "Einsum" and node.domain == "" and len(node.inputs) == 2:
            _rewrite(editor, node)
    editor.finish()


def _rewrite(editor: Editor, node: ir.Node) -> None:
    arrays = [query.float_constant(value) for value in node.inputs]
    if (arrays[0] is None) == (arrays[1] is None):
        return
    side = 0 if arrays[1] is None else 1
    source, array, x = node.inputs[side], arrays[side], node.inputs[1 - side]
    letters = _letters(node)
    if array is None or source is None or x is None or letters is None:
        return
    moving, constant, result = letters[1 - side], letters[side], letters[2]
    if len(constant) != array.ndim or query.rank(x) != len(moving):
        return
    product = _Product(moving, constant, result)
    if _broadcasts(product, x, array):
        return
    if product.k and product.n and set(result) <= set(moving) | set(constant):
        _Rewriter(editor, node, product).write(x, source, array)


def _broadcasts(product: _Product, x: ir.Value, array: NDArray[Any]) -> bool:
    """Whether a letter of both sides may be of length one on one side alone."""
    sizes = dict(zip(product.moving, query.static_sizes(x) or [], strict=True))
    of_constant = zip(product.constant, array.shape, strict=True)
    return any(c in sizes and 1 in (size, sizes[c]) and size != sizes[c] for c, size in of_constant)


def _dims(value: ir.Value) -> list[Any]:
    """The axes of a value of known rank; free axes with their names."""
    return [] if value.shape is None else list(value.shape)


def _letters(node: ir.Node) -> list[str] | None:
    """The letters of both operands and of the result; None where one repeats or stands for
    several axes that are not known."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    left, arrow, result = equation.partition("->")
    operands = left.split(",")
    if len(operands) != 2:
        return None
    if "." in equation:
        found = _without_ellipsis(node, operands, result if arrow else None)
        if found is None:
            return None
        *operands, result = found
        arrow = "->"
    if any(len(set(letters)) != len(letters) for letters in (*operands, result)):
        return None
    if not arrow:
        both = "".join(operands)
        result = "".join(sorted(c for c in both if both.count(c) == 1))
    return [*operands, result]


def _without_ellipsis(node: ir.Node, operands: list[str], result: str | None) -> list[str] | None:
    """The same with letters for the axes that an ellipsis stands for in one operand."""
    held = [place for place, letters in enumerate(operands) if "..." in letters]
    rank = query.rank(node.inputs[held[0]]) if len(held) == 1 else None
    if rank is None:
        return None
    used = set("".join(operands))
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in used]
    count = rank - len(operands[held[0]].replace("...", ""))
    if not 0 <= count <= len(free):
        return None
    letters = "".join(free[:count])
    if result is None:
        both = "".join(operands).replace("...", "")
        result = "..." + "".join(sorted(c for c in both if both.count(c) == 1))
    return [text.replace("...", letters) for text in (*operands, result)]


class _Rewriter:
    """Adds the nodes of one product before ``node``."""

    def __init__(self, editor: Editor, node: ir.Node, product: _Product) -> None:
        self.editor, self.node, self.product = editor, node, product
        self.type = node.outputs[0].type

    def write(self, x: ir.Value, source: ir.Value, array: NDArray[Any]) -> None:
        """Put the product in the place of the Einsum."""
        p = self.product
        matrix, sizes = self._matrix(array)
        weight = self.editor.derive(source, f"einsum{p.h}{p.k}{p.n}", matrix)
        dims = dict(zip(p.moving, _dims(x), strict=True))
        # The last of its own letters stands beside k, where MatMul has its rows.
        outer, last = (p.m[:-1], p.m[-1:]) if p.h else (p.m, "")
        x, moving = self._summed(x, outer + p.h + last + p.k)
        x = self._turned(x, moving, outer + p.h + last + p.k, dims)
        if p.h and not last:
            one = self.editor.constant(f"{self.node.name}.axis", np.array([len(outer + p.h)]))
            x = self._add(
                "Unsqueeze",
                [x, one],
                [dims[c] for c in outer + p.h] + [1, *_dims(x)[len(outer + p.h) :]],
            )
        before = len(outer + p.h + last) + (1 if p.h and not last else 0)
        if len(p.k) > 1:
            x = self._reshaped(x, before, [matrix.shape[-2]])
        lead = [dims.get(c) for c in outer + p.h]
        lead += [dims.get(last)] if last else [1] * (before - len(lead))
        y = self._add("MatMul", [x, weight], [*lead, matrix.shape[-1]])
        self._finish(y, outer + p.h + last, dims | sizes, before)

    def _matrix(self, array: NDArray[Any]) -> tuple[NDArray[Any], dict[str, int]]:
        """The constant as [h.., k, n], and the sizes of its letters."""
        p = self.product
        gone = [at for at, c in enumerate(p.constant) if c not in p.h + p.k + p.n]
        left = [c for c in p.constant if c in p.h + p.k + p.n]
        summed = (
            array.sum(axis=tuple(gone), dtype=np.float64).astype(array.dtype) if gone else array
        )
        sizes = dict(zip(left, summed.shape, strict=True))
        turned = summed.transpose([left.index(c) for c in p.h + p.k + p.n])
        inner = [math.prod(sizes[c] for c in part) for part in (p.k, p.n)]
        return turned.reshape([sizes[c] for c in p.h] + inner), sizes

    def _summed(self, x: ir.Value, wanted: str) -> tuple[ir.Value, str]:
        """The moving side without letters that nothing else has."""
        moving = self.product.moving
        gone = [at for at, c in enumerate(moving) if c not in wanted]
        if not gone:
            return x, moving
        axes = self.editor.constant(f"{self.node.name}.axes", np.array(gone))
        kept = [size for at, size in enumerate(_dims(x)) if at not in gone]
        summed = self._add("ReduceSum", [x, axes], kept, keepdims=0)
        return summed, "".join(c for c in moving if c in wanted)

    def _turned(self, x: ir.Value, now: str, wanted: str, dims: dict[str, Any]) -> ir.Value:
        if now == wanted:
            return x
        perm = [now.index(c) for c in wanted]
        return self._add("Transpose", [x], [dims[c] for c in wanted], perm=perm)

    def _reshaped(self, x: ir.Value, before: int, rest: Sequence[int]) -> ir.Value:
        """``before`` axes as they are, then ``rest``."""
        name = f"{self.node.name}.shape"
        shape = self.editor.constant(name, np.array([0] * before + list(rest), np.int64))
        return self._add("Reshape", [x, shape], [*_dims(x)[:before], *rest])

    def _finish(self, y: ir.Value, lead: str, sizes: dict[str, Any], before: int) -> None:
        """Split n, drop the row that was put in, and turn: the result."""
        p = self.product
        if len(p.n) != 1 or before != len(lead):
            y = self._reshaped(y, len(lead), [sizes[c] for c in p.n])
        now = lead + p.n
        if now != p.result:
            y = self._turned(y, now, p.result, sizes)
        made = y.producer()
        assert made is not None  # noqa: S101 - the nodes above made it
        self.editor.graph.remove(made)
        self.editor.replace([self.node], made)

    def _add(
        self, op_type: str, inputs: list[ir.Value], sizes: Sequence[Any], **attributes: Any
    ) -> ir.Value:
        """The output of a new node."""
        count = sum(1 for _ in self.editor.graph)
        name = f"{self.node.name}.{op_type.lower()}" if op_type != "MatMul" else self.node.name
        made = ir.node(op_type, inputs, attributes, name=name)
        output = made.outputs[0]
        output.name = self.editor.unique(f"{self.node.outputs[0].name}.{op_type.lower()}{count}")
        output.type, output.shape = self.type, ir.Shape(list(sizes))
        self.editor.graph.insert_before(self.node, made)
        return output
