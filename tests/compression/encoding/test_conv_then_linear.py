"""Q-CNN's order: convolutions, training of the linear layers, linear layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import subbyte
from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.divergence import divergence
from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.conv_then_linear import encode_network, linear_tail
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.run import Run, Schedule
from subbyte.errors import CalibrationError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.methods import MethodChoice, MethodOptions, Product
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.progress import Progress, silent
from tests import tiny
from tests.compression.nets import CPU, normal, relative, samples_for, smooth_images

SIZE = tiny.SIZE
IMAGES = smooth_images(120, size=SIZE)
ROUGH = ProductOptions(8, 16, procedure="paper")


def network_model() -> onnx.ModelProto:
    """conv, relu, conv, relu, mean over the map, linear without bias, relu, linear."""
    weights = tiny.conv_weights(width=24)
    weights["hidden.weight"] = normal(3, 32, 24) / 5
    weights["head.weight"] = normal(4, 4, 32)
    nodes = [
        tiny.conv("conv1", "input", "c1"),
        helper.make_node("Relu", ["c1"], ["r1"], "act1"),
        tiny.conv("conv2", "r1", "c2"),
        helper.make_node("Relu", ["c2"], ["r2"], "act2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "hidden.weight"], ["h"], "hidden", transB=1),
        helper.make_node("Relu", ["h"], ["r3"], "act3"),
        helper.make_node("Gemm", ["r3", "head.weight", "head.bias"], ["y"], "head", transB=1),
    ]
    return tiny.build(nodes, weights, {"input": ["N", 3, SIZE, SIZE]}, {"y": ["N", 4]})


MODEL = network_model()
PLAN: dict[str, MethodOptions] = {
    "conv1.weight": ScalarOptions(8),
    "conv2.weight": ROUGH,
    "hidden.weight": ProductOptions(4, 16, procedure="paper"),
    "head.weight": ScalarOptions(8),
}


SCHEDULE = Schedule(check_every=10, warm_up=1, rates={"weight": 1e-3}, linear_steps=7)


def encoded(
    folder: Path,
    steps: int | None,
    plan: dict[str, MethodOptions] = PLAN,
    count: int = 120,
    progress: Progress = silent,
) -> tuple[Encoded, GraphModule]:
    checkpoints = Checkpoints(folder, "key", keep=True)
    samples = samples_for(MODEL, IMAGES[:count])
    config = CompressOptions(tune_linear=steps)
    network = prepare(MODEL, "net")
    return encode_network(Run(network, samples, config, progress, checkpoints, SCHEDULE), plan)


def lost(module: GraphModule) -> float:
    x = torch.from_numpy(IMAGES)
    with torch.no_grad():
        wanted = GraphModule(prepare(MODEL, "net")).eval()(x)
        return float(divergence((wanted,), (module(x),)))


def same(one: Encoded, other: Encoded) -> bool:
    return all(
        np.array_equal(array, other.weights[name].inputs[key])
        for name, coded in one.weights.items()
        for key, array in coded.inputs.items()
    ) and all(torch.equal(value, other.biases[name]) for name, value in one.biases.items())


def test_which_linear_layers_come_last() -> None:
    assert [layer.name for layer in linear_tail(prepare(MODEL, "net"))] == ["hidden", "head"]


def test_training_in_between_makes_good_what_convolutions_lost(tmp_path: Path) -> None:
    alone, module = encoded(tmp_path / "alone", 0)
    tuned, other = encoded(tmp_path / "tuned", 60)
    assert lost(other) < 0.8 * lost(module)
    for name in ("conv1", "conv2"):
        one, two = alone.weights[f"{name}.weight"], tuned.weights[f"{name}.weight"]
        assert all(np.array_equal(one.inputs[key], two.inputs[key]) for key in one.inputs)
        assert torch.equal(alone.biases[name], tuned.biases[name])
    assert set(tuned.weights) == set(PLAN) == set(tuned.losses)
    assert set(tuned.biases) == {"conv1", "conv2", "hidden", "head"}
    assert not same(alone, tuned)
    assert not torch.equal(alone.biases["head"], tuned.biases["head"])


def test_linear_layers_are_coded_behind_convolutions_as_the_file_has_them(tmp_path: Path) -> None:
    """Binarized ones too: what the linear layers follow is what the file will compute."""
    plan = PLAN | {"conv2.weight": BinaryOptions(2)}
    found, module = encoded(tmp_path, 5, plan)
    network, x = prepare(MODEL, "net"), torch.from_numpy(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(module(x), coded_module(network, found, CPU)(x))


def test_the_paper_keeps_biases_without_training(tmp_path: Path) -> None:
    alone, _ = encoded(tmp_path, 0)
    weights = tiny.conv_weights(width=24)
    for name in ("conv1", "conv2", "head"):
        np.testing.assert_array_equal(alone.biases[name].numpy(), weights[f"{name}.bias"])
    assert not alone.biases["hidden"].any()


def test_steps_by_default(tmp_path: Path) -> None:
    assert Schedule().linear_steps == 200
    by_default, _ = encoded(tmp_path / "a", None)
    assert same(by_default, encoded(tmp_path / "b", 7)[0])
    ours: dict[str, MethodOptions] = PLAN | {
        "conv2.weight": ProductOptions(8),
        "hidden.weight": ProductOptions(4),
    }
    assert same(encoded(tmp_path / "c", None, ours)[0], encoded(tmp_path / "d", 0, ours)[0])
    assert not list((tmp_path / "d").glob("tune*"))


def test_interrupted_after_training(tmp_path: Path) -> None:
    whole, _ = encoded(tmp_path / "whole", 20)
    stages: list[str] = []

    def stop(stage: str, *_: object) -> None:
        if stage == "encode" and "tune" in stages:
            raise KeyboardInterrupt
        stages.append(stage)

    with pytest.raises(KeyboardInterrupt):
        encoded(tmp_path / "broken", 20, progress=stop)
    assert same(encoded(tmp_path / "broken", 20)[0], whole)


def test_one_sample_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"at least 2 samples, or `tune_linear=0`.*got 1"):
        encoded(tmp_path, None, count=1)


@pytest.mark.parametrize("procedure", ["paper", "paper-plain"])
def test_through_the_whole_pipeline(procedure: str, tmp_path: Path) -> None:
    found = subbyte.compress(
        MODEL,
        tmp_path / "a.onnx",
        IMAGES,
        tune_linear=5,
        method=Product(procedure=procedure, group=4, words=32),
    )
    coded = found.plan["conv2.weight"]
    assert coded == ProductOptions(4, 32, procedure=procedure)  # type: ignore[arg-type]
    wanted = subbyte.compress(MODEL, tmp_path / "b.onnx", IMAGES, method="scalar")
    outputs = [subbyte.load(path).run(IMAGES) for path in (found.path, wanted.path)]
    assert relative(outputs[0], outputs[1]) < 1


def test_training_nothing_is_asked_of_a_network_without_convolutions(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "layer", transB=1)]
    model = tiny.build(nodes, {"w": normal(0, 64, 32)}, {"x": ["N", 32]}, {"y": ["N", 64]})
    found = subbyte.compress(
        model, tmp_path / "a.onnx", normal(1, 40, 32), method=Product(procedure="paper")
    )
    assert found.plan["w"] == ProductOptions(1, 16, procedure="paper")


@pytest.mark.parametrize(
    ("kind", "weight", "attributes"),
    [
        ("Conv", normal(0, 24, 8, 3, 3), {"group": 2, "pads": [1] * 4}),
        ("ConvTranspose", normal(0, 16, 24, 2, 2), {"strides": [2, 2]}),
        ("ConvTranspose", normal(0, 16, 24, 2, 2), {"group": 2}),
    ],
    ids=["grouped", "transposed", "transposed-grouped"],
)
def test_error_correction_of_other_convolutions(
    kind: str, weight: Any, attributes: dict[str, Any], tmp_path: Path
) -> None:
    """It makes the responses better than k-means alone, whatever is convolved."""
    node = helper.make_node(kind, ["x", "w", "b"], ["y"], "layer", **attributes)
    turned = kind == "ConvTranspose"
    outputs = weight.shape[1] * attributes.get("group", 1) if turned else weight.shape[0]
    constants = {"w": weight, "b": normal(5, outputs)}
    shapes: list[dict[str, Any]] = [{"x": ["N", 16, 8, 8]}, {"y": ["N", outputs, "h", "w"]}]
    model = tiny.build([node], constants, *shapes)
    data = smooth_images(40, channels=16)
    wanted = GraphModule(prepare(model, "net")).eval()(torch.from_numpy(data)).detach()
    losses = []
    for procedure in ("paper-plain", "paper"):
        path = tmp_path / f"{procedure}.onnx"
        method = MethodChoice("product", {"procedure": procedure, "group": 4, "words": 16})
        subbyte.compress(model, path, data, activations="float", method=method)
        losses.append(relative(subbyte.load(path).run(data), wanted))
    assert losses[1] < 0.8 * losses[0]
