"""ONNX Runtime's word on what is a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from subbyte.runtime.ort import ERRORS, open_session, ort
from tests.random_graphs.pool import Array, Constant, Draft

MOST_ENTRIES = 20_000
MOST_SIZE = 1e4
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10}
Feeds = Mapping[str, Array]


def header(opset: int, domains: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of ``helper.make_model``."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains if d)]
    return {"opset_imports": imports, "ir_version": IR_VERSIONS.get(opset, 11)}


def run(model: onnx.ModelProto, feeds: Feeds, optimized: bool = False) -> list[Array] | None:
    """The outputs, or None where ONNX Runtime refuses the model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = open_session(model.SerializeToString(), options)
        return [np.asarray(array) for array in session.run(None, dict(feeds))]
    except ERRORS:
        return None


def try_draft(draft: Draft, opset: int) -> list[Array] | None:
    """What a node gives for the arrays of the pool; None where that is of no use."""
    names, feeds, held = [], {}, []
    for place, operand in enumerate(draft.inputs):
        names.append("" if operand is None else f"i{place}")
        if isinstance(operand, Constant):
            held.append(numpy_helper.from_array(operand.array, f"i{place}"))
        elif operand is not None:
            feeds[f"i{place}"] = operand.array
    feeds |= {value.name: value.array for value in draft.captured}
    outputs = [f"o{place}" for place in range(draft.outputs)]
    node = helper.make_node(
        draft.op_type, names, outputs, "node", domain=draft.domain, **draft.attributes
    )
    inputs = [typed(name, array.dtype, array.shape) for name, array in feeds.items()]
    graph = helper.make_graph([node], "draft", inputs, [untyped(name) for name in outputs], held)
    found = run(helper.make_model(graph, **header(opset, [draft.domain])), feeds)
    return found if found is not None and all(map(useful, found)) else None


def useful(array: Array) -> bool:
    """Whether later nodes can compute with it."""
    if array.dtype.kind not in "fiub" or not 0 < array.size <= MOST_ENTRIES:
        return False
    return bool(np.isfinite(array).all() and np.abs(array.astype(np.float64)).max() <= MOST_SIZE)


def typed(name: str, dtype: Any, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    """A value of the graph's border with its shape."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def untyped(name: str) -> onnx.ValueInfoProto:
    """An output whose type ONNX Runtime finds out."""
    return onnx.ValueInfoProto(name=name)
