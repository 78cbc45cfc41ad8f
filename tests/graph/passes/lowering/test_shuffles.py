"""Channel shuffles as exporters write them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from subbyte.graph.load.network import prepare
from tests import tiny
from tests.graph.one_node import compare, run_module, run_ort

RNG = np.random.default_rng(0)


def shuffle(
    shape: list[int], perm: list[int], back: list[int], reader: str = "c"
) -> onnx.ModelProto:
    constants = {
        "apart": np.array(shape, np.int64),
        "back": np.array(back, np.int64),
        "w": RNG.standard_normal((4, 6, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "apart"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=perm),
        helper.make_node("Reshape", ["c", "back"], ["y"]),
        helper.make_node("Neg", [reader], ["z"]),
    ]
    model = tiny.build(nodes, constants, {"x": ("N", 6, 5, 3)}, {"y": ["?"], "z": ["?"]})
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def types(model: onnx.ModelProto) -> list[str]:
    x = RNG.standard_normal((2, 6, 5, 3)).astype(np.float32)
    compare(run_module(model, [x]), run_ort(model, [x]))
    return [node.op_type for node in prepare(model, "net").model.graph]


@pytest.mark.parametrize("shape", [[-1, 2, 2, 5, 3], [0, 2, 2, 5, 3], [0, 4, 1, 5, 3]])
@pytest.mark.parametrize("back", [[0, 4, 5, 3], [-1, 4, 5, 3]])
def test_three_nodes_become_a_gather(shape: list[int], back: list[int]) -> None:
    model = shuffle(shape, [0, 2, 1, 3, 4], back, reader="y")
    assert types(model) == ["Conv", "Gather", "Neg"]


OTHERS = {
    "other axes": ([0, 2, 2, 5, 3], [0, 1, 2, 4, 3], [0, 4, 5, 3], "y"),
    "another order of pixels": ([0, 2, 2, 3, 5], [0, 2, 1, 3, 4], [0, 4, 5, 3], "y"),
    "another result": ([0, 2, 2, 5, 3], [0, 2, 1, 3, 4], [0, 2, 10, 3], "y"),
    "read inside": ([0, 2, 2, 5, 3], [0, 2, 1, 3, 4], [0, 4, 5, 3], "c"),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_chains_stay(name: str) -> None:
    shape, perm, back, reader = OTHERS[name]
    assert "Gather" not in types(shuffle(shape, perm, back, reader))
