"""How far off a network may be: what rounding to 8 bits does to it in ONNX Runtime alone.

The same network, with every float value between its nodes, and every float constant of some size,
rounded to some 255 even steps between its least and greatest entry. A network that divides by small
numbers, or that decides by a threshold, is far off then, whoever computes it. A decision between
two almost equal values may fall either way: several numbers of `STEPS` show both. Every other of
them moves all values by a hundredth of a step, up or down: two equal values then differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.random_graphs.judge import Feeds, run, untyped
from tests.random_graphs.pool import Array

LEAST_WEIGHT = 4
STEPS = (255, 253, 249, 241, 233, 227, 213, 199)
MOVED = (253, 241), (227, 199)
"""Numbers of steps with which values are moved up, and down."""


class Range(NamedTuple):
    """Least and greatest entry of a value, and its type."""

    low: float
    high: float
    dtype: Any


def rounded(
    model: onnx.ModelProto, batches: Sequence[Feeds], steps: int = 255
) -> onnx.ModelProto | None:
    """``model`` with its values rounded between the ends that they reach in ``batches``."""
    made = {name for node in model.graph.node for name in node.output if name}
    names = [*(value.name for value in model.graph.input), *sorted(made)]
    ranges = _ranges(model, names, batches)
    if ranges is None:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _round_constants(copy)
    _round_values(copy, ranges, steps)
    return copy


def _ranges(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[Feeds]
) -> dict[str, Range] | None:
    """Of every float value."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    inner = names[len(model.graph.input) :]
    del wide.graph.output[:]
    wide.graph.output.extend(untyped(name) for name in inner)
    found: dict[str, Range] = {}
    for feeds in batches:
        arrays = run(wide, feeds)
        if arrays is None:
            return None
        for name, array in [*feeds.items(), *zip(inner, arrays, strict=True)]:
            if array.dtype.kind == "f" and array.size:
                low, high = float(array.min()), float(array.max())
                old = found.get(name, Range(low, high, array.dtype))
                found[name] = Range(min(low, old.low), max(high, old.high), array.dtype)
    return {name: ends for name, ends in found.items() if np.isfinite(ends[:2]).all()}


def _round_constants(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and array.size >= LEAST_WEIGHT:
            step = np.abs(array).max() / 127 or 1
            steps = (np.round(array / step) * step).astype(array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(steps, tensor.name))


def _round_values(model: onnx.ModelProto, ranges: Mapping[str, Range], steps: int) -> None:
    """Every reader of a value in ``ranges``, and the output, gets it through ``steps`` steps."""
    renamed, nodes = {}, []
    outputs = {value.name for value in model.graph.output}
    for count, (name, (low, high, dtype)) in enumerate(ranges.items()):
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / steps, 1e-9)
        zero = int(np.clip(np.round(-low / scale), 0, 255))
        moved = np.float32(0.01 * scale * ((steps in MOVED[0]) - (steps in MOVED[1])))
        parts = {"scale": np.float32(scale), "zero": np.uint8(zero), "moved": moved}
        held = {key: f"rounding_{count}_{key}" for key in parts}
        for key, value in parts.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), held[key]))
        source = f"rounding_{count}_of" if name in outputs else name
        target = name if name in outputs else f"rounding_{count}_of"
        renamed[name] = (source, target)
        words = ("single", "even", "close", "near")
        single, even, close, near = (f"rounding_{count}_{word}" for word in words)
        ends = [held["scale"], held["zero"]]
        nodes += [
            helper.make_node("Cast", [source], [single], to=TensorProto.FLOAT),
            helper.make_node("QuantizeLinear", [single, *ends], [even]),
            helper.make_node("DequantizeLinear", [even, *ends], [close]),
            helper.make_node("Add", [close, held["moved"]], [near]),
            helper.make_node("Cast", [near], [target], to=helper.np_dtype_to_tensor_dtype(dtype)),
        ]
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, (name, name))[1]
        for place, name in enumerate(node.output):
            node.output[place] = renamed.get(name, (name, name))[0]
    model.graph.node.extend(nodes)


def squared_error(got: Array, expected: Array) -> float:
    """Mean squared error over the variance of ``expected`` (over its mean square if constant)."""
    difference = got.astype(np.float64) - expected.astype(np.float64)
    spread = expected.astype(np.float64).var() or np.mean(expected.astype(np.float64) ** 2)
    error = float(np.mean(difference**2))
    return error / float(spread) if spread > 0 else error
