from __future__ import annotations

from pathlib import Path

import pytest

from subbyte.report.timing import node_times
from subbyte.runtime.library import find_library
from tests.report.reported import make_pair


def test_nodes_of_a_float_file(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    rows = node_times(pair.reference, {"input": pair.samples}, 3, 1, "portable")
    assert sum(row["share"] for row in rows) == pytest.approx(100)
    assert {"head"} <= {row["name"] for row in rows}
    assert all(row["ms"] >= 0 for row in rows)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.skipif(find_library() is None, reason="the native library is not built")
def test_layers_on_the_native_kernels(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    rows = node_times(pair.model, {"input": pair.samples}, 3, 1, "native")
    ops = {row["name"]: row["op"] for row in rows}
    assert ops["conv2"] == "ProductGainConv"
    assert {"conv1", "conv2", "head"} <= set(ops)
