"""Einsums with a constant side are products of matrices, whatever the order of their letters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from subbyte.errors import WeightError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from tests.graph.coding import session

SIZES = dict(zip("btskhdexn", (2, 3, 3, 8, 4, 16, 24, 5, 160), strict=True))
LINEAR = [
    "btk,kn->btn",
    "kn,btk->btn",
    "btk,nk->nbt",
    "btk,kn",
    "bsd,hdk->bhsk",
    "bhsk,hkd->bsd",
    "bxtk,kn->btn",
    "...k,kn->...n",
    "bk,ken->ben",
]
BATCHED = [
    "bhtd,hde->bhte",
    "bthd,hde->bteh",
    "bhd,hde->bhe",
    "bh,hde->bhde",
    "btdh,hden->bthen",
    "bhtd,hdex->bhte",
]


def einsum(equation: str, first: float = 1) -> tuple[Network, np.ndarray, np.ndarray]:
    """The prepared network of one Einsum, an input, and what onnxruntime makes of it.

    ``first``: one number of the constant."""
    operands = equation.split("->")[0].replace("...", "bt").split(",")
    side = 0 if operands[0] == "kn" else 1
    rng = np.random.default_rng(0)
    weight, x = (
        rng.standard_normal([SIZES[c] for c in operands[at]]).astype(np.float32)
        for at in (side, 1 - side)
    )
    weight.flat[0] = first
    node = helper.make_node("Einsum", [*["wx", "xw"][side]], ["y"], "ein", equation=equation)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", TensorProto.FLOAT, ["N", *x.shape[1:]])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return prepare(model, "m"), x, session(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("equation", [*LINEAR, *BATCHED])
def test_einsum_is_a_product(equation: str) -> None:
    network, x, wanted = einsum(equation)
    with torch.no_grad():
        found = GraphModule(network)(torch.from_numpy(x)).numpy()
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, atol=1e-4)
    if equation in LINEAR:
        assert [layer.name for layer in network.layers] == ["ein"]
    elif equation != "bh,hde->bhde":
        assert [entry.name for entry in network.unpacked] == ["ein"]


def test_infinite_weights_are_refused() -> None:
    with pytest.raises(WeightError, match="not finite"):
        einsum("btk,kn->btn", np.inf)
