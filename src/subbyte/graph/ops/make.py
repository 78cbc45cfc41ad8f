"""Operators that make tensors from sizes and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from subbyte.graph.ops.element_types import TORCH_DTYPES
from subbyte.graph.ops.registry import Kernel, NodeView, operator


@operator("Shape", makes_lengths=True)
def shape(form: NodeView) -> Kernel:
    """The sizes of the axes from ``start`` to ``end``, int64."""
    start, end = form.attribute("start", 0), form.optional("end")
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64)


@operator("Size", makes_lengths=True)
def size(form: NodeView) -> Kernel:
    """The number of entries, int64."""
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64)


@operator("Constant")
def constant(form: NodeView) -> Kernel:
    """A constant written as a node."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        value = form.optional(name)
        if value is not None:
            kind = np.float32 if "float" in name else np.int64
            array = value if name == "value" else np.array(value, dtype=kind)
            tensor = torch.from_numpy(np.array(array))
            return lambda: tensor
    form.unsupported("a constant that is no dense numeric tensor")


@operator("ConstantOfShape", lengths=(0,))
def constant_of_shape(form: NodeView) -> Kernel:
    """A tensor of the given shape filled with one value."""
    value = form.attribute("value", np.zeros(1, np.float32))
    fill, read = torch.from_numpy(np.array(value)).reshape(()), form.integers(0)
    return lambda sizes: fill.expand(read(sizes) or []).clone()


@operator("Range", lengths=(0, 1, 2))
def range_(form: NodeView) -> Kernel:
    """start, start + delta, ... below limit."""
    form.attribute("stash_type", 1)
    values = [form.static(position) for position in range(3)]
    known = [value for value in values if value is not None]

    def run(*tensors: Tensor | None) -> Tensor:
        given = [tensor for tensor in tensors if tensor is not None]
        bounds = [
            value.item() if tensor is None and value is not None else _number(tensor)
            for value, tensor in zip(values, tensors, strict=True)
        ]
        kind = torch.from_numpy(np.array(known[0])).dtype if known else given[0].dtype
        return torch.arange(*bounds, dtype=kind)

    return run


def _number(tensor: Tensor | None) -> Any:
    return 0 if tensor is None else tensor.item()


@operator("EyeLike")
def eye_like(form: NodeView) -> Kernel:
    """Ones on the k-th diagonal of a matrix with the shape of x."""
    k, code = form.attribute("k", 0), form.optional("dtype")
    kind = None if code is None else TORCH_DTYPES.get(ir.DataType(code))
    if code is not None and kind is None:
        form.unsupported(f"dtype={ir.DataType(code).name}")

    def run(x: Tensor) -> Tensor:
        ones = torch.ones_like(x, dtype=kind or x.dtype)
        return torch.triu(torch.tril(ones, k), k)

    return run


@operator("Trilu", lengths=(1,))
def trilu(form: NodeView) -> Kernel:
    """The upper or lower triangle of matrices, from the k-th diagonal."""
    keep: Callable[..., Tensor] = torch.triu if form.attribute("upper", 1) else torch.tril
    read = form.integers(1)

    def run(x: Tensor, k_tensor: Tensor | None = None) -> Tensor:
        return keep(x, (read(k_tensor) or [0])[0])

    return run


@operator("OneHot", lengths=(1,))
def one_hot(form: NodeView) -> Kernel:
    """``values[1]`` where the index points, ``values[0]`` elsewhere, along a new axis."""
    axis, read = form.attribute("axis", -1), form.integers(1)

    def run(indices: Tensor, depth_tensor: Tensor | None, values: Tensor) -> Tensor:
        (depth,) = read(depth_tensor) or [0]
        index = indices.to(torch.int64)
        inside = (index >= -depth) & (index < depth)
        hot = F.one_hot(torch.where(inside, index % depth, 0), depth).bool() & inside[..., None]
        return torch.where(hot.movedim(-1, axis), values[1], values[0])

    return run
