"""Sides in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from benchmarks import threads
from subbyte.runtime.library import find_library
from tests import tiny

needs_library = pytest.mark.skipif(find_library() is None, reason="no native library")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 7, 7)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=[32, 32])]
    model = tiny.build(nodes, weights, {"x": ["N", 3, 224, 224]}, {"y": ["N", 4, 7, 7]})
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("side", ["onnxruntime-int8", pytest.param("native", marks=needs_library)])
def test_a_side_in_a_process_gives_its_times(side: str, network: Path) -> None:
    times = threads._in_a_process(side, network, 2, 5)
    assert len(times) == 5
    assert min(times) > 0


def test_a_side_that_fails_ends_the_run(network: Path) -> None:
    with pytest.raises(SystemExit, match="unknown-peer"):
        threads._in_a_process("unknown-peer", network, 1, 5)
