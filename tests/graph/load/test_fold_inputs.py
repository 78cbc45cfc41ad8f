from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from subbyte.data import as_samples
from subbyte.graph.load.fold_inputs import fold_inputs
from subbyte.graph.load.model_file import input_specs
from subbyte.runtime.ort import open_session, ort

X = np.arange(12, dtype=np.float32).reshape(4, 3)
STATE = np.arange(6, dtype=np.float32).reshape(2, 1, 3)


def model(batch: str | int) -> onnx.ModelProto:
    """y = state * gain, x added to each of its two rows; the state goes out beside it."""
    nodes = [
        helper.make_node("Mul", ["state", "gain"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["y"]),
        helper.make_node("Identity", ["state"], ["same"]),
    ]
    kinds = {"x": [batch, 3], "state": [2, batch, 3], "gain": []}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in kinds.items()]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, n, 3]) for n in ("y", "same")]
    graph = helper.make_graph(nodes, "g", infos, outs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_folded_network_computes_the_same(batch: str | int) -> None:
    whole = model(batch)
    set_inputs = {"state": STATE, "gain": 2}
    samples = as_samples(X, input_specs(whole), set_inputs=set_inputs, fold_inputs=True)
    folded = fold_inputs(whole, samples.choice)
    onnx.checker.check_model(folded, full_check=True)
    assert [value.name for value in folded.graph.input] == ["x"]
    assert len(whole.graph.input) == 3
    count = 4 if batch == "N" else 1
    state = np.repeat(STATE, count, axis=1)
    session = open_session(folded.SerializeToString(), ort.SessionOptions())
    y, same = session.run(None, {"x": X[:count]})
    np.testing.assert_array_equal(y, state * 2 + X[:count])
    np.testing.assert_array_equal(same, state)


def test_nothing_to_fold() -> None:
    whole = model("N")
    samples = as_samples({"x": X, "state": STATE, "gain": 1}, input_specs(whole))
    assert fold_inputs(whole, samples.choice) is whole
