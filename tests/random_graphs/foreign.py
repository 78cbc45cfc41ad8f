"""Recipes of operators that the table has no row for: ONNX Runtime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.random_graphs.pool import Constant, Draft, Operand, Pool, vector
from tests.random_graphs.recipes import recipe

CONTRIB = "com.microsoft"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@recipe("LSTM", "GRU", "RNN")
def recurrence(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim == 3 and a.dtype == np.float32)
    gates, hidden, inputs = GATES[op_type], pool.choice([2, 5]), x.array.shape[2]
    both = pool.chance(0.3)
    ways = 2 if both else 1
    weights = [pool.weight([ways, gates * hidden, size]) for size in (inputs, hidden)]
    bias = pool.normal([ways, 2 * gates * hidden], size=0.1) if pool.chance(0.5) else None
    attributes: dict[str, Any] = {"hidden_size": hidden}
    attributes |= {"direction": "bidirectional" if both else pool.choice(["forward", "reverse"])}
    outputs = pool.choice([1, 2, 3 if op_type == "LSTM" else 2])
    return Draft(op_type, [x, *weights, bias], attributes, outputs)


@recipe("GridSample")
def grid_sample(pool: Pool, op_type: str) -> Draft:
    x = pool.pick("f", lambda a: a.ndim == 4 and a.shape[0] == 1)
    grid = Constant(pool.generator().uniform(-1, 1, [1, 3, 4, 2]).astype(x.array.dtype))
    return Draft(op_type, [x, grid])


@recipe("DynamicQuantizeLinear")
def dynamic_quantization(pool: Pool, op_type: str) -> Draft:
    return Draft(op_type, [pool.pick("f", lambda a: a.dtype == np.float32)], outputs=3)


@recipe("NonMaxSuppression")
def suppression(pool: Pool, op_type: str) -> Draft:
    boxes = pool.pick("f", lambda a: a.ndim == 3 and a.shape[2] == 4)
    batch, count, _ = boxes.array.shape
    scores = pool.normal([batch, 1, count])
    return Draft(op_type, [boxes, scores, vector(3), Constant(np.array(0.5, np.float32))])


@recipe("If")
def condition(pool: Pool, op_type: str) -> Draft:
    """One branch is the Relu of a value from outside, the other its negative."""
    x = pool.pick("f", lambda a: a.dtype == np.float32)
    given: Operand = Constant(np.array(pool.chance(0.5)))
    if pool.chance(0.4):
        given = pool.pick("b", lambda a: a.ndim == 0)
    branches = {}
    for key, kind in (("then_branch", "Relu"), ("else_branch", "Neg")):
        inside = f"inside {key} {len(pool.values)}"
        out = helper.make_tensor_value_info(inside, TensorProto.FLOAT, None)
        node = helper.make_node(kind, [x.name], [inside])
        branches[key] = helper.make_graph([node], key, [], [out])
    return Draft(op_type, [given], branches, captured=[x])


@recipe("QuickGelu", "FastGelu", "BiasGelu")
def contributed(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=1)
    bias = [pool.normal(x.array.shape[-1:], x.array.dtype)] if op_type == "BiasGelu" else []
    return Draft(op_type, [x, *bias], domain=CONTRIB)


@recipe("FusedMatMul")
def fused_mat_mul(pool: Pool, op_type: str) -> Draft:
    x = pool.floats(least=2)
    weight = pool.weight([5, x.array.shape[-1]], x.array.dtype)
    return Draft(op_type, [x, weight], {"transB": 1, "alpha": 0.5}, domain=CONTRIB)
