"""Rows, and the samples that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from subbyte.compression.calibration.row_sampler import RowSampler
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from tests import tiny
from tests.compression.nets import normal, samples_for


def owners_of(model: Any, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The first value of each row, and its owner, of samples that are their own number all over."""
    network, count = prepare(model, "net"), 6
    data = np.broadcast_to(np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1), (count, *shape))
    run = Run(network, samples_for(model, np.ascontiguousarray(data)))
    module = GraphModule(network).eval()
    layer, values = network.layers[0], {"x": torch.from_numpy(data.copy())}
    with torch.no_grad():
        module.run(values, 0, len(module.steps), keep=[layer.input, layer.output])
        rows, _, owners = RowSampler(run, module, count).rows(
            layer, values, values, (0, 0), corrected=False, binarization=None
        )
    return rows[:, 0, 0], owners


def test_rows_of_a_convolution() -> None:
    model = tiny.build(
        [tiny.helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        {"w": normal(0, 8, 4, 1, 1)},
        {"x": ["N", 4, 8, 8]},
        {"y": ["N", 8, 8, 8]},
    )
    values, owners = owners_of(model, (4, 8, 8))
    assert owners is not None
    assert (owners == values).all()


@pytest.mark.parametrize("side", [2, 80])
def test_rows_of_samples_that_are_merged_with_tokens(side: int) -> None:
    """With ``side`` 80, more rows than are wanted: some are drawn."""
    weights = {"shape": np.array([-1, 16], np.int64), "w": normal(0, 16, 32)}
    nodes = [
        tiny.helper.make_node("Reshape", ["x", "shape"], ["tokens"]),
        tiny.helper.make_node("MatMul", ["tokens", "w"], ["y"], "linear"),
    ]
    model = tiny.build(nodes, weights, {"x": ["N", side, side, 16]}, {"y": ["M", 32]})
    values, owners = owners_of(model, (side, side, 16))
    assert owners is not None
    assert (owners == values).all()
