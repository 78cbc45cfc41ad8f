"""Questions about a prepared graph: constants, ranks, attributes, who reads a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

STANDARD = ("", "ai.onnx")


def is_standard(node: ir.Node, *op_types: str) -> bool:
    """Whether ``node`` is one of these standard operators (any, if none is named)."""
    return node.domain in STANDARD and (not op_types or node.op_type in op_types)


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array of an initializer or a Constant node's output; None for a dynamic value."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def known(value: ir.Value | None) -> NDArray[Any]:
    """The array of a value that must be constant; ValueError if it is not."""
    array = constant(value)
    if array is None:
        raise ValueError(f"expected a constant, got {value}")
    return array


def is_constant(value: ir.Value | None) -> bool:
    """Whether ``value`` is known when the network is loaded."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def is_float(value: ir.Value | None) -> bool:
    """Whether ``value`` has a floating-point element type."""
    return value is not None and value.dtype is not None and value.dtype.is_floating_point()


def float_constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array of a floating-point constant, else None."""
    return constant(value) if is_float(value) else None


def has_single_use(value: ir.Value) -> bool:
    """Whether exactly one node input reads ``value`` and no graph output does."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def rank(value: ir.Value | None) -> int | None:
    """Number of dimensions, None where it is not known."""
    if value is None or value.shape is None:
        return None
    return len(value.shape)


def dims(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    """Dimensions, symbolic ones as strings, None where the rank is not known."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def static_sizes(value: ir.Value | None) -> list[int | None] | None:
    """The sizes of the axes of ``value``, None where dynamic; None if even the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def same_shape(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two shapes are known to be equal; an unnamed first dimension is the batch."""
    first, second = dims(a), dims(b)
    return first is not None and first == second and None not in first[1:]


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Value of an attribute, ``default`` where the node has none."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def optional_input(node: ir.Node, index: int) -> ir.Value | None:
    """Input ``index``, None where it is missing or left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def data_inputs(node: ir.Node) -> list[ir.Value]:
    """The inputs of ``node`` that are neither missing nor constant."""
    return [value for value in node.inputs if value is not None and not is_constant(value)]


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """(low, high) of a Relu or a Clip with constant bounds; None for anything else."""
    if is_standard(node, "Relu"):
        return 0.0, np.inf
    if not is_standard(node, "Clip"):
        return None
    bounds = [-np.inf, np.inf]
    for index in (1, 2):
        value = optional_input(node, index)
        if value is None:
            continue
        bound = constant(value)
        if bound is None:
            return None
        bounds[index - 1] = float(bound.item())
    return bounds[0], bounds[1]
