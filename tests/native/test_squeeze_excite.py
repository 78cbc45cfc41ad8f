"""A gate of one value a channel, twice: the second product's inputs are of products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import subbyte
from tests.compression.nets import relative
from tests.graph.builder import SIZE, Builder

CHANNELS = 8


def gated(build: Builder, x: str, name: str) -> str:
    """x times what its mean over the map gives."""
    axes = build.constant(f"{name}.axes", [2, 3], np.int64)
    mean = build.op("ReduceMean", f"{name}.mean", x, axes, keepdims=1)
    squeezed = build.conv(f"{name}.squeeze", mean, CHANNELS, CHANNELS, 1)
    squeezed = build.op("Relu", f"{name}.relu", squeezed)
    excited = build.conv(f"{name}.excite", squeezed, CHANNELS, CHANNELS, 1)
    gate = build.op("HardSigmoid", f"{name}.gate", excited)
    return build.op("Mul", f"{name}.product", x, gate)


@pytest.mark.parametrize("batch", ["N", 1])
def test_two_gates_load_and_run(batch: int | str, tmp_path: Path) -> None:
    build = Builder(CHANNELS)
    build.inputs["x"][0] = batch
    x = "x"
    for index in range(2):
        x = build.conv(f"conv{index}", x, CHANNELS, CHANNELS)
        x = gated(build, build.op("Relu", f"relu{index}", x), f"gate{index}")
    build.conv("y", x, CHANNELS, CHANNELS)
    samples = np.random.default_rng(1).standard_normal((8, CHANNELS, SIZE, SIZE), np.float32)
    target = tmp_path / "small.onnx"
    subbyte.compress(build.model(y=4), target, samples, method="scalar", bits=8)
    assert "Mul" in [n.op_type for n in onnx.load(target).graph.node if n.domain == "subbyte"]
    size = 1 if batch == 1 else 4
    native, portable = (
        np.asarray(subbyte.load(target, engine=engine).run(samples[:size]))
        for engine in ("native", "portable")
    )
    assert relative(native, portable) < 0.01
