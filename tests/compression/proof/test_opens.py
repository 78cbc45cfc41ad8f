"""Networks that ONNX Runtime cannot open are refused before anything is calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import subbyte
from subbyte.errors import ModelFileError
from tests import tiny

X = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)


def network(op: str, kind: int) -> onnx.ModelProto:
    """``op`` on a type that onnx or ONNX Runtime has no ``op`` for, behind a linear layer."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "first"),
        helper.make_node("Cast", ["m"], ["i"], to=kind),
        helper.make_node(op, ["i", "i"], ["j"], "second"),
        helper.make_node("Cast", ["j"], ["y"], to=TensorProto.FLOAT),
    ]
    weight = np.random.default_rng(1).standard_normal((8, 8)).astype(np.float32)
    return tiny.build(nodes, {"w": weight}, {"x": ["N", 8]}, {"y": ["N", 8]})


@pytest.mark.parametrize(
    ("op", "kind", "said"),
    [
        ("Max", TensorProto.INT16, "Could not find an implementation for Max"),
        ("Sub", TensorProto.BOOL, "tensor(bool)"),
    ],
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_whole_message_comes_before_the_work(
    op: str, kind: int, said: str, in_memory: bool, tmp_path: Path
) -> None:
    source: onnx.ModelProto | Path = network(op, kind)
    if not in_memory:
        source = tiny.save(network(op, kind), tmp_path / "net.onnx")
    stages: list[str] = []
    with pytest.raises(ModelFileError) as caught:
        subbyte.compress(
            source, tmp_path / "a.onnx", X, progress=lambda stage, *_: stages.append(stage)
        )
    message = str(caught.value)
    assert message.startswith("ONNX Runtime cannot open the network [")
    assert "or the network cut before what it cannot" in message
    assert said in message
    assert stages == []
    assert not (tmp_path / "a.onnx").exists()
