"""Networks, samples and runs in small, for the tests of compression."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

import subbyte
from subbyte.compression.calibration.value_ranges import Measured
from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.encoding.layerwise import LayerwiseEncoder
from subbyte.compression.run import Run
from subbyte.data import Samples, as_samples
from subbyte.graph.islands.shared_scales import Group
from subbyte.graph.load.model_file import input_specs
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical
from tests import tiny

DATA = Path(os.environ.get("SUBBYTE_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder: set SUBBYTE_DATA")
CPU = torch.device("cpu")

Array = NDArray[np.float32]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def smooth_images(count: int, channels: int = 3, size: int = 8, seed: int = 1) -> Array:
    """Images whose pixels and channels depend on each other, as those of the world do."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, channels, size // 2, size // 2))
    image = coarse.repeat(2, 2).repeat(2, 3) + 0.2 * rng.standard_normal(
        (count, channels, size, size)
    )
    mix = np.random.default_rng(0).standard_normal((channels, channels))
    return np.einsum("nchw,dc->ndhw", image, mix).astype(np.float32)


def two_convolutions(
    activation: str = "Relu", gain: float = 1.0, width: int = 16
) -> onnx.ModelProto:
    """Two convolutions with ``activation`` between them, and a sum over the map after."""
    weights = {
        "conv1.weight": normal(1, width, 16, 3, 3) / 12,
        "conv1.bias": np.zeros(width, np.float32),
        "conv2.weight": normal(2, width, width, 3, 3) / 12 * gain,
        "conv2.bias": np.zeros(width, np.float32),
    }
    nodes = [
        tiny.conv("conv1", "x", "c1"),
        helper.make_node(activation, ["c1"], ["r1"], "act1"),
        tiny.conv("conv2", "r1", "c2"),
        helper.make_node("GlobalAveragePool", ["c2"], ["y"], "pool"),
    ]
    shape: list[int | str] = ["N", 16, 8, 8]
    return tiny.build(nodes, weights, {"x": shape}, {"y": ["N", width, 1, 1]})


def params_of(groups: Sequence[Group], ranges: Mapping[str, Measured]) -> dict[str, QuantParams]:
    """The parameters of every group, by name, over the ranges from all samples."""
    found = {group.name: ranges[group.name].all for group in groups}
    return {g.name: g.params(found[g.name].low, found[g.name].high) for g in groups}


def one_layer(
    kind: str,
    weight: Array,
    rank: int,
    channels: int,
    bias: bool = True,
    size: int | None = None,
    **attributes: Any,
) -> Network:
    """x [N, channels, ...] -> one Conv or ConvTranspose node; ``size``: of every further axis."""
    spatial = (size or f"s{axis}" for axis in range(rank))
    shape: list[int | str] = ["N", channels, *spatial]
    out: list[int | str] = ["N", "o", *(f"t{axis}" for axis in range(rank))]
    count = weight.shape[0] if kind == "Conv" else weight.shape[1] * attributes.get("group", 1)
    constants = {"w": weight} | ({"b": normal(9, count)} if bias else {})
    node = helper.make_node(kind, ["x", *constants], ["y"], "layer", **attributes)
    return prepare(tiny.build([node], constants, {"x": shape}, {"y": out}), "one")


def matmul(weight: Array, rank: int, left: bool) -> Network:
    """x @ weight, or weight @ x, with x of ``rank`` axes."""
    shape: list[int | str] = ["N", *(f"s{axis}" for axis in range(rank - 1))]
    shape[-2 if left else -1] = weight.shape[1 if left else 0]
    out: list[int | str] = ["N", *(f"t{axis}" for axis in range(rank - 1))]
    inputs = ["w", "x"] if left else ["x", "w"]
    node = helper.make_node("MatMul", inputs, ["y"], "layer")
    return prepare(tiny.build([node], {"w": weight}, {"x": shape}, {"y": out}), "matmul")


def weight_of(layer: Layer) -> torch.Tensor:
    """The float weight [O, T, I]."""
    value = known(layer.node.inputs[1])
    assert value is not None
    return torch.from_numpy(canonical(layer, np.array(value, np.float32)).copy())


def samples_for(model: onnx.ModelProto, data: Any) -> Samples:
    return as_samples(data, input_specs(model))


def encode(
    model: onnx.ModelProto,
    data: Any,
    plan: dict[str, Any],
    folder: Path,
    seed: int = 0,
    kind: type[LayerwiseEncoder] = LayerwiseEncoder,
    **settings: Any,
) -> tuple[LayerwiseEncoder, Encoded, Network]:
    """Run a `LayerwiseEncoder` over ``model``, its checkpoints in ``folder``."""
    network = prepare(model, "net")
    checkpoints = Checkpoints(folder, "key", keep=True)
    config = CompressOptions(seed=seed)
    run = Run(network, samples_for(model, data), config, checkpoints=checkpoints)
    encoder = kind(run, plan, **settings)
    return encoder, encoder.run(), network


def plan_of(model: onnx.ModelProto, options: Any) -> dict[str, Any]:
    """The same options for every layer."""
    return {layer.weight: options for layer in prepare(model, "net").layers}


def run(path: Path, data: Any) -> Array:
    """The compressed file's output in ONNX Runtime."""
    return np.asarray(subbyte.load(path).run(data))


def relative(got: Any, wanted: Any) -> float:
    """Squared error over the variance of ``wanted``."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(((got - wanted) ** 2).mean() / wanted.var())


def classifier(images: Array, seed: int = 0) -> onnx.ModelProto:
    """`tiny.classifier`, its scores centred and spread so that ``images`` differ in class."""
    weights = tiny.conv_weights(seed)
    scores = GraphModule(prepare(tiny.classifier(weights), "net")).eval()(torch.from_numpy(images))
    mean, spread = scores.detach().mean(0).numpy(), scores.detach().std(0).numpy()
    weights["head.weight"] = weights["head.weight"] * (2 / spread)[:, None]
    weights["head.bias"] = (weights["head.bias"] - mean) * (2 / spread)
    return tiny.classifier(weights)


ROUGH_PLAN = """
[layers.conv1]
method = "scalar"
bits = 2
[layers.conv2]
method = "product"
group = 16
gain = 0
[layers.head]
method = "scalar"
bits = 2
"""
"""A plan for `classifier` that loses much: the codes of conv2 move in tuning."""
