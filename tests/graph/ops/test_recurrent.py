from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from tests.graph.one_node import Array, check, compare, one_node, run_module, run_ort

RNG = np.random.default_rng(0)
TIME, BATCH, INPUTS, STATES = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LENGTHS = np.array([5, 1, 3], np.int32)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def inputs_of(
    kind: str,
    directions: int = 1,
    bias: bool = True,
    lengths: Array | None = None,
    state: bool = False,
    peephole: bool = False,
) -> list[Array | None]:
    """X, W, R, B, sequence_lens, initial states, peepholes."""
    rows = GATES[kind] * STATES
    found: list[Array | None] = [normal(TIME, BATCH, INPUTS)]
    found += [normal(directions, rows, INPUTS), normal(directions, rows, STATES) / 2]
    found += [normal(directions, 2 * rows) if bias else None, lengths]
    states = 2 if kind == "LSTM" else 1
    found += [normal(directions, BATCH, STATES) if state else None for _ in range(states)]
    if peephole:
        found.append(normal(directions, 3 * STATES))
    while found[-1] is None:
        found.pop()
    return found


def outputs_of(kind: str) -> int:
    return 3 if kind == "LSTM" else 2


FORMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"bias": False}, {}),
    ({"state": True}, {"direction": "reverse"}),
    ({"directions": 2, "state": True}, {"direction": "bidirectional"}),
    ({"lengths": LENGTHS}, {}),
    ({"lengths": LENGTHS, "state": True}, {"direction": "reverse"}),
    ({"directions": 2, "lengths": LENGTHS, "bias": False}, {"direction": "bidirectional"}),
    ({"state": True}, {"clip": 0.5}),
]


@pytest.mark.parametrize("kind", list(GATES))
@pytest.mark.parametrize(("given", "attributes"), FORMS)
def test_forms(kind: str, given: dict[str, Any], attributes: dict[str, Any]) -> None:
    inputs = inputs_of(kind, **given)
    more = {**attributes, "hidden_size": STATES, "outputs": outputs_of(kind)}
    check(kind, inputs, **more)
    check(kind, inputs, constants={1: inputs[1], 2: inputs[2]}, **more)


@pytest.mark.parametrize("opset", [11, 14, 22])
@pytest.mark.parametrize("kind", list(GATES))
def test_operator_sets(kind: str, opset: int) -> None:
    check(kind, inputs_of(kind), opset, hidden_size=STATES, outputs=outputs_of(kind))


@pytest.mark.parametrize("given", [{}, {"lengths": LENGTHS, "state": True}])
def test_gru_that_resets_late(given: dict[str, Any]) -> None:
    check("GRU", inputs_of("GRU", **given), hidden_size=STATES, linear_before_reset=1, outputs=2)


@pytest.mark.parametrize("coupled", [0, 1])
def test_lstm_peepholes(coupled: int) -> None:
    inputs = inputs_of("LSTM", state=True, peephole=True)
    check("LSTM", inputs, hidden_size=STATES, input_forget=coupled, outputs=3)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("RNN", ["Relu"]), ("GRU", ["Tanh", "Relu"]), ("LSTM", ["Sigmoid", "Relu", "Tanh"])],
)
def test_functions(kind: str, names: list[str]) -> None:
    more = {"hidden_size": STATES, "activations": names, "outputs": outputs_of(kind)}
    check(kind, inputs_of(kind), **more)
    inputs = inputs_of(kind, 2)
    more["activations"] = [*names, *["Tanh"] * len(names)]
    check(kind, inputs, direction="bidirectional", **more)


def test_functions_that_onnx_runtime_computes() -> None:
    """Affine has numbers of its own: no row of the table, and no gradient."""
    more: dict[str, Any] = {"activation_alpha": [0.7], "activation_beta": [0.1]}
    inputs = inputs_of("RNN")
    check("RNN", inputs, hidden_size=STATES, activations=["Affine"], outputs=2, **more)


@pytest.mark.parametrize("kind", list(GATES))
def test_samples_first(kind: str) -> None:
    """ONNX Runtime has no ``layout`` 1: the same with the samples second."""
    inputs = inputs_of(kind, 2, state=True)
    more: dict[str, Any] = {"hidden_size": STATES, "direction": "bidirectional"}
    more["outputs"] = outputs_of(kind)
    expected = run_ort(one_node(kind, inputs, **more), [x for x in inputs if x is not None])
    turned = [
        x.swapaxes(0, 1).copy() if x is not None and place in (0, 5, 6) else x
        for place, x in enumerate(inputs)
    ]
    model = one_node(kind, turned, layout=1, **more)
    y, *states = run_module(model, [x for x in turned if x is not None])
    compare([y.transpose(1, 2, 0, 3), *(s.swapaxes(0, 1) for s in states)], expected)


@pytest.mark.parametrize("kind", list(GATES))
def test_gradients(kind: str) -> None:
    """By finite differences, through time, to the input and to both weights."""
    inputs = inputs_of(kind, 2, lengths=LENGTHS, state=True)
    model = one_node(kind, inputs, hidden_size=STATES, direction="bidirectional")
    module = GraphModule(prepare(model, "net"))
    fed = [torch.from_numpy(x) for x in inputs if x is not None]
    fed = [x.double().requires_grad_() if x.is_floating_point() else x for x in fed]
    assert torch.autograd.gradcheck(lambda *x: module(*x), fed, fast_mode=True)
