"""The native kernels are as near to the float network as ONNX Runtime alone: tables of look-ups
round, and deep networks multiply small errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import subbyte
from benchmarks.networks.catalog import NETWORKS as CATALOG
from benchmarks.networks.datasets import halves
from subbyte.graph.functions.layer import TABLE_SHIFT
from tests import tiny
from tests.compression.nets import DATA, Array, needs_data, normal, relative, smooth_images

MOST, NOTHING = 1.1, 1e-4
SIZE, WIDTH, DEPTH = 16, 32, 4
TOKENS, FEATURES = 64, 64


def residual(spread: float = 0.0, activation: str = "Relu") -> onnx.ModelProto:
    """x + conv(act(conv x)) `DEPTH` times. ``spread``: how much channels differ in size, as
    networks do that were trained with BatchNorm."""
    constants = {"stem.weight": normal(0, WIDTH, 3, 3, 3), "stem.bias": normal(1, WIDTH)}
    nodes = [tiny.conv("stem", "x", "v0")]
    sizes = np.exp(spread * normal(2, WIDTH))
    for block in range(DEPTH):
        first, second = f"first{block}", f"second{block}"
        weight = 0.08 * normal(10 + block, WIDTH, WIDTH, 3, 3)
        constants[f"{first}.weight"] = weight / sizes[:, None, None]
        constants[f"{first}.bias"] = 0.1 * normal(30 + block, WIDTH)
        weight = 0.04 * normal(50 + block, WIDTH, WIDTH, 3, 3)
        constants[f"{second}.weight"] = weight * sizes[:, None, None, None]
        constants[f"{second}.bias"] = 0.1 * normal(70 + block, WIDTH)
        nodes += [
            tiny.conv(first, f"v{block}", f"c{block}"),
            helper.make_node(activation, [f"c{block}"], [f"a{block}"]),
            tiny.conv(second, f"a{block}", f"s{block}"),
            helper.make_node("Add", [f"v{block}", f"s{block}"], [f"v{block + 1}"]),
        ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"v{DEPTH}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    shape = ["N", 3, SIZE, SIZE]
    return tiny.build(nodes, constants, {"x": shape}, {"y": ["N", WIDTH]})


def tokens() -> onnx.ModelProto:
    """The feed-forward halves of a transformer: x + B gelu(A norm(x)), some features large."""
    large = np.exp(1.2 * normal(0, FEATURES)).astype(np.float32)
    constants = {"large": large, "zero": np.zeros(FEATURES, np.float32)}
    nodes = []
    for block in range(DEPTH):
        constants[f"a{block}"] = normal(1 + block, FEATURES, 4 * FEATURES) / 8
        constants[f"b{block}"] = normal(40 + block, 4 * FEATURES, FEATURES) / 16
        value = "x" if block == 0 else f"v{block}"
        nodes += [
            helper.make_node("LayerNormalization", [value, "large", "zero"], [f"n{block}"]),
            helper.make_node("MatMul", [f"n{block}", f"a{block}"], [f"h{block}"], f"up{block}"),
            helper.make_node("Elu", [f"h{block}"], [f"g{block}"]),
            helper.make_node("MatMul", [f"g{block}", f"b{block}"], [f"d{block}"], f"down{block}"),
            helper.make_node("Add", [value, f"d{block}"], [f"v{block + 1}"]),
        ]
    shape = ["N", TOKENS, FEATURES]
    return tiny.build(nodes, constants, {"x": shape}, {f"v{DEPTH}": shape})


def images(count: int, seed: int) -> Array:
    return smooth_images(count, size=SIZE, seed=seed)


def features(count: int, seed: int) -> Array:
    return normal(seed, count, TOKENS, FEATURES)


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], Callable[[int, int], Array]]] = {
    "residual": (residual, images),
    "channels that differ": (lambda: residual(1.5), images),
    "hard swish": (lambda: residual(0.7, "HardSwish"), images),
    "tokens": (tokens, features),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_native_is_as_near_to_float_as_portable(name: str, tmp_path: Path) -> None:
    make, draw = NETWORKS[name]
    source = tiny.save(make(), tmp_path / "float.onnx")
    check(source, tmp_path / "small.onnx", draw(40, 1), draw(48, 2), bits=3.0)


@needs_data
@pytest.mark.parametrize("name", ["resnet8", "dscnn"])
def test_trained_networks_are_as_near(name: str, tmp_path: Path) -> None:
    row = CATALOG[name]
    split = row.load(DATA, halves)
    fit, fresh = (
        row.preprocessing.apply(np.moveaxis(x, -1, 1) if row.preprocessing.layout == "nhwc" else x)
        for x in (split.calibration[:100], split.test[:200])
    )
    check(DATA / row.model, tmp_path / "small.onnx", fit, fresh, bits=2.5)


def check(source: Path, target: Path, samples: Array, fresh: Array, bits: float) -> None:
    """Compress, some layers looked up, and compare both engines with float on new samples."""
    subbyte.compress(source, target, samples, bits=bits)
    nodes = onnx.load(target).graph.node
    assert any(a.name == TABLE_SHIFT for node in nodes for a in node.attribute)
    wanted, native, portable = (
        np.asarray(subbyte.load(path, engine=engine).run(fresh))
        for path, engine in ((source, "portable"), (target, "native"), (target, "portable"))
    )
    assert relative(native, wanted) <= max(NOTHING, MOST * relative(portable, wanted))
