"""The module equals ONNX Runtime on real networks and on what torch exports."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from tests.graph import zoo
from tests.graph.one_node import compare

DATA = Path(os.environ.get("SUBBYTE_DATA", Path(__file__).parents[4] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder: set SUBBYTE_DATA")

LAYERS = {
    "cifar10_densenet40/densenet40_k12": 40,
    "cifar10_resnet/resnet20": 20,
    "cifar10_resnet/resnet32": 32,
    "cifar10_resnet8/resnet8": 10,
    "cifar10_resnet8/resnet_mid": 10,
    "detector_yolo_nano/MobileNetV2-YOLOv3-Nano-coco": 59,
    "detector_yolo_nano/MobileNetV2-YOLOv3-Nano-voc": 59,
    "imagenet_nets/mobilenet_v1_025": 28,
    "imagenet_nets/mobilenet_v2_100": 53,
    "kws_dscnn/dscnn": 10,
    "kws_transformer/kwt1": 74,
    "segmentation_espnet/espnet_camvid": 85,
}
"""Network -> number of its convolutions and fully connected layers."""


def run_both(path: Path, network: Network, batch: int) -> tuple[list[np.ndarray], ...]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    entry = session.get_inputs()[0]
    shape = (batch, *entry.shape[1:])
    rng = np.random.default_rng(batch)
    if entry.type == "tensor(float)":
        x = rng.standard_normal(shape).astype(np.float32)
    else:
        x = rng.integers(0, 50, shape)
    with torch.no_grad():
        result = GraphModule(network).eval()(torch.from_numpy(x))
    results = result if isinstance(result, tuple) else (result,)
    return [value.numpy() for value in results], session.run(None, {entry.name: x})


@needs_data
@pytest.mark.parametrize("name", LAYERS)
def test_real_network(name: str) -> None:
    path = DATA / f"{name}.onnx"
    network = read_network(path)
    assert len(network.layers) == LAYERS[name]
    names = [node.name for node in network.model.graph]
    assert all(names)
    assert len(set(names)) == len(names)
    for batch in (1, 3):
        compare(*run_both(path, network, batch))


@needs_data
def test_transformer_layers_have_their_biases() -> None:
    network = read_network(DATA / "kws_transformer/kwt1.onnx")
    assert {layer.op for layer in network.layers} == {"Linear"}
    biased = {layer.weight for layer in network.layers if layer.bias is not None}
    parts = [f"layers.{block}.{part}" for block in range(12) for part in ("o", "fc1", "fc2")]
    assert biased == {f"{part}.weight" for part in (*parts, "embed", "head")}


def assert_trains(network: Network, x: torch.Tensor) -> None:
    module = GraphModule(network)
    module(x).square().sum().backward()
    assert list(module.parameters())
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def assert_runs_on_another_device(network: Network, x: torch.Tensor) -> None:
    """On the meta device, where a tensor left on the CPU is an error as it is on a GPU."""
    module = GraphModule(network).eval().to("meta")
    assert module(x.to("meta")).device.type == "meta"


def count_layers(module: torch.nn.Module) -> int:
    convs = (torch.nn.Conv1d, torch.nn.Conv2d)
    transposed = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d)
    kinds = (*convs, *transposed, torch.nn.Linear)
    return sum(isinstance(part, kinds) for part in module.modules())


EXTRA_LAYERS = {"vit": 2, "causal_lm": 1}
"""Layers that are no such module: the input projections of attention, a tied output head."""

EXPORTS = [(name, 18, True) for name in zoo.ZOO]
EXPORTS += [("vit", 20, True), ("vit", 23, True), ("causal_lm", 25, True)]
# rms_norm has no translation in the older exporter; attention has none below 14.
EXPORTS += [(name, 17, False) for name in zoo.ZOO if name != "causal_lm"]
EXPORTS += [(name, 11, False) for name in ("resnet", "mobilenet_v3", "bert", "decoder")]


@pytest.mark.parametrize(("name", "opset", "dynamo"), EXPORTS)
def test_exported_network(name: str, opset: int, dynamo: bool, tmp_path: Path) -> None:
    module, make_input = zoo.make(name)
    path = zoo.export(module, make_input(2), tmp_path / "net.onnx", opset, dynamo)
    network = read_network(path)
    assert len(network.layers) == count_layers(module) + EXTRA_LAYERS.get(name, 0)
    for batch in (1, 3):
        compare(*run_both(path, network, batch))
    assert_trains(network, make_input(2))
    assert_runs_on_another_device(network, make_input(2))
