"""Binary layers from a network, trained for it or not, to a file that runs."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

import subbyte
from subbyte.compression.calibration.statistics import collect
from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.candidates import layer_candidates
from subbyte.compression.planning.make import make_plan
from subbyte.compression.planning.plan_file import (
    parse_plan,
    planned_layers,
    write_plan,
)
from subbyte.compression.run import Run
from subbyte.errors import BudgetError, OptionError, UnsupportedOperatorError
from subbyte.graph.load.network import prepare
from subbyte.graph.load.torch_export import export_module
from subbyte.graph.module.graph_module import GraphModule
from subbyte.methods import EIGHT_BITS, Binary, MethodChoice
from subbyte.methods.binarization import SCALES, Binarization
from subbyte.methods.binary.form import BinaryOptions
from subbyte.nn import ResidualBinaryConv2d, ResidualBinaryLinear
from subbyte.report import inspect
from tests import tiny
from tests.compression.nets import CPU, normal, one_layer, relative, run, samples_for

MODEL = tiny.classifier(tiny.conv_weights(width=32))
IMAGES = normal(0, 48, 3, 6, 6)
WANTED = GraphModule(prepare(MODEL, "net")).eval()(torch.from_numpy(IMAGES)).detach().numpy()


def compressed(folder: Path, method: str | MethodChoice = "binary", **options: Any) -> Path:
    subbyte.compress(MODEL, folder / "small.onnx", IMAGES, method=method, **options)
    return folder / "small.onnx"


# Networks that were not trained binary


@pytest.mark.parametrize("activations", ["int8", "float"])
@pytest.mark.parametrize("scales", SCALES)
def test_orders_bring_the_output_nearer(scales: str, activations: str, tmp_path: Path) -> None:
    # Of few images, what is gained by an order does not hold on others, and is not taken.
    images = normal(0, 192, 3, 6, 6)
    wanted = GraphModule(prepare(MODEL, "net")).eval()(torch.from_numpy(images)).detach().numpy()
    path = tmp_path / "small.onnx"
    lost = []
    for order in (1, 2, 4):
        method = Binary(order=order, scales=scales)
        subbyte.compress(MODEL, path, images, activations=activations, method=method)
        lost.append(relative(run(path, images), wanted))
    assert lost[0] > 3 * lost[1] > 3 * lost[2], lost
    assert lost[2] < 0.03


def test_layers_and_their_bits(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in inspect(compressed(tmp_path)).layers}
    assert [rows[name]["method"] for name in ("conv1", "conv2", "head")] == [
        "scalar",
        "binary",
        "scalar",
    ]
    assert rows["conv2"]["bytes"] == 32 * 32 * 9 // 8 + 2 * 32 + 4


def test_inlined_files_compute_the_same(tmp_path: Path) -> None:
    whole = run(compressed(tmp_path), IMAGES)
    path = compressed(tmp_path, inline=True)
    assert not onnx.load(path).functions
    assert relative(run(path, IMAGES), whole) < 1e-3
    methods = [row["method"] for row in inspect(path).layers]
    assert methods == ["scalar", "binary", "scalar"]


def test_the_samples_correct_what_binarizing_loses(tmp_path: Path) -> None:
    """H of the binarized inputs, W* and the bias against the paper's weights alone."""
    fitted = run(compressed(tmp_path, method=Binary(order=2)), IMAGES)
    plain = run(compressed(tmp_path, method=Binary(order=2, procedure="paper")), IMAGES)
    assert relative(fitted, WANTED) < 0.9 * relative(plain, WANTED)


def test_tuning_does_no_harm(tmp_path: Path) -> None:
    plain = relative(run(compressed(tmp_path, method=Binary(order=3)), IMAGES), WANTED)
    tuned = relative(run(compressed(tmp_path, tune=60, method=Binary(order=3)), IMAGES), WANTED)
    assert tuned < 1.1 * plain


def test_a_budget_keeps_layers_at_eight_bits_as_it_can(tmp_path: Path) -> None:
    methods = {}
    for bits in (1.9, 8.7 - 0.8):
        path = compressed(tmp_path, bits=bits)
        assert inspect(path).bits_per_weight <= bits
        methods[bits] = [row["method"] for row in inspect(path).layers]
    assert methods[1.9] == ["scalar", "binary", "scalar"]
    with pytest.raises(BudgetError, match="at least 1"):
        compressed(tmp_path, bits=0.9)


def test_candidates_are_priced_by_what_they_lose() -> None:
    network = prepare(MODEL, "net")
    module = GraphModule(network).eval()
    layer = network.layers[1]
    data = collect(module, [layer], samples_for(MODEL, IMAGES), CPU)[layer.weight]
    weight = module.constant(layer.weight).detach().flatten(2).transpose(1, 2).contiguous()
    options = CompressOptions(method=Binary(order=3))
    binary, eight = layer_candidates(layer, weight, data, options, 0)
    assert binary.options == BinaryOptions(3)
    assert eight.options == EIGHT_BITS
    assert binary.bytes < eight.bytes / 7
    assert 0.1 < binary.harm < 1
    assert eight.harm < 1e-3
    turned, _ = layer_candidates(layer, -weight, data, options, 0)
    assert turned.harm == pytest.approx(binary.harm)


@pytest.mark.parametrize(
    "network",
    [
        one_layer("Conv", normal(1, 64, 32, 3, 3, 3), 3, 32, pads=[1] * 6),
        one_layer("ConvTranspose", normal(1, 32, 64, 3, 3), 2, 32, pads=[1] * 4),
        one_layer("Conv", normal(1, 64, 32, 3, 3), 2, 32, auto_pad="SAME_UPPER", strides=[2, 2]),
    ],
    ids=["3-D", "transposed", "same"],
)
def test_layers_without_a_binary_form(network: Any) -> None:
    (layer,) = network.layers
    samples: Any = None
    plan = make_plan(Run(network, samples, CompressOptions(method="binary"))).plan
    assert plan == {layer.weight: EIGHT_BITS}
    text = write_plan({layer.weight: BinaryOptions()}, [layer])
    with pytest.raises(OptionError, match="plan: binary: the layer has no binary form"):
        parse_plan(text, [layer], "plan")


def test_plans() -> None:
    layers = planned_layers(prepare(MODEL, "net"))
    plan = {layers[0].weight: EIGHT_BITS, layers[1].weight: BinaryOptions(3, "pixel", "paper")}
    plan |= {layers[2].weight: BinaryOptions(1)}
    assert parse_plan(write_plan(plan, layers), layers, "plan") == plan
    plan[layers[2].weight] = BinaryOptions(1, "image")
    with pytest.raises(OptionError, match="row of a linear layer is one column"):
        parse_plan(write_plan(plan, layers), layers, "plan")
    with pytest.raises(OptionError, match="order out of range"):
        parse_plan('[layers.conv2]\nmethod = "binary"\norder = 9\n', layers, "plan")


# Networks that were


@functools.cache
def trained_net() -> tuple[nn.Module, np.ndarray]:
    """A net with every kind of binary layer, and its scores."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        ResidualBinaryConv2d(16, 32, 3, padding=1, order=2),
        nn.BatchNorm2d(32),
        nn.PReLU(32),
        nn.BatchNorm2d(32),
        ResidualBinaryConv2d(32, 32, (3, 2), 2, padding=1, groups=2, order=1, scales="pixel"),
        nn.BatchNorm2d(32),
        ResidualBinaryConv2d(32, 32, 3, order=2, scales="image", bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        ResidualBinaryLinear(32, 64, order=3),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    x = torch.from_numpy(normal(1, 96, 3, 8, 8))
    for _ in range(20):
        net(x)
    net.eval()
    return net, net(x).detach().numpy()


@functools.cache
def exported() -> onnx.ModelProto:
    return export_module(trained_net()[0], torch.from_numpy(normal(1, 2, 3, 8, 8)))


def test_the_module_computes_what_was_trained() -> None:
    network = prepare(exported(), "net")
    found = [layer.binarization for layer in network.layers]
    wanted = [Binarization(2), Binarization(1, "pixel"), Binarization(2, "image"), Binarization(3)]
    assert found == [None, *wanted, None]
    y = GraphModule(network).eval()(torch.from_numpy(normal(1, 96, 3, 8, 8)))
    assert relative(y.detach().numpy(), trained_net()[1]) < 1e-6


def test_reading_does_not_change_the_model() -> None:
    model = exported()
    before = copy.deepcopy(model)
    prepare(model, "net")
    assert model == before


@pytest.mark.parametrize("options", [{"activations": "float"}, {}, {"inline": True}, {"bits": 3}])
def test_trained_layers_are_coded_as_they_are(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    images = normal(1, 96, 3, 8, 8)
    subbyte.compress(exported(), path, images, method=Binary(order=5), **options)
    methods = [row["method"] for row in inspect(path).layers]
    assert methods == ["scalar", *["binary"] * 4, "scalar"]
    assert relative(run(path, images), trained_net()[1]) < 0.01


def test_native_and_portable_decide_alike(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    images = normal(1, 96, 3, 8, 8)
    subbyte.compress(exported(), path, images, method="binary")
    portable = np.asarray(subbyte.load(path, engine="portable").run(images))
    native = np.asarray(subbyte.load(path, engine="native").run(images))
    assert relative(native, portable) < 0.01
    # Of scores that no training has parted.
    assert (native.argmax(1) == portable.argmax(1)).mean() > 0.9


def test_a_pixelwise_output_layer(tmp_path: Path) -> None:
    """It gives floats; an image's pixels share scales only where it says so."""
    torch.manual_seed(1)
    images = normal(2, 32, 3, 8, 8)
    for scales in ("pixel", "image"):
        last = ResidualBinaryConv2d(16, 24, 1, order=2, scales=scales)  # type: ignore[arg-type]
        net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), last).eval()
        x = torch.from_numpy(images)
        path = tmp_path / "small.onnx"
        subbyte.compress(net, path, images, method="binary", example_inputs=x[:2])
        kind = "ConvDequant" if scales == "image" else "LinearDequant"
        assert f"Binary{scales.title()}2{kind}" in {n.op_type for n in onnx.load(path).graph.node}
        assert relative(run(path, images), net(x).detach().numpy()) < 0.02


def test_other_methods_are_refused_by_name(tmp_path: Path) -> None:
    network, images = exported(), normal(1, 8, 3, 8, 8)
    budgets: tuple[dict[str, Any], ...] = ({}, {"bits": 4, "trials": 2}, {"max_drop": 1})
    for options in budgets:
        with pytest.raises(OptionError, match=r"trained binary .*expected `method` binary"):
            subbyte.compress(network, tmp_path / "small.onnx", images, **options)


def test_plans_keep_what_was_trained() -> None:
    layers = planned_layers(prepare(exported(), "net"))
    plan = parse_plan("", layers, "plan")
    assert plan[layers[2].weight] == BinaryOptions(1, "pixel", "paper")
    assert plan[layers[0].weight] == EIGHT_BITS
    assert parse_plan(write_plan(plan, layers), layers, "plan") == plan
    text = f'[layers."{layers[1].name}"]\nmethod = "binary"\norder = 3\n'
    with pytest.raises(OptionError, match=r"trained binary.*expected method binary, order 2"):
        parse_plan(text, layers, "plan")


def test_batch_norm_behind_a_binary_layer_is_folded() -> None:
    assert not any(
        node.op_type == "BatchNormalization" and node.inputs[0].producer().op_type == "Conv"  # type: ignore[union-attr]
        for node in prepare(exported(), "net").model.graph
    )


@pytest.mark.parametrize(
    "given",
    [
        {"order": 0},
        {"order": 9},
        {"order": 1.5},
        {"order": "two"},
        {"scales": "row"},
        {"scales": 2},
        {"pads": [1, 1]},
        {"pads": [0, 0, 0, -1]},
        {"strides": 2},
        {"strides": [1.5, 1.5]},
        {"dilations": [0, 1]},
        {"group": 3},
        {"group": "all"},
        {"kernel_shape": [3, 2]},
        {"auto_pad": "SAME_UPPER"},
    ],
    ids=str,
)
def test_nodes_of_unknown_kinds(given: dict[str, Any]) -> None:
    attributes = {"kernel_shape": [3, 3], "order": 2, "scales": "column", **given}
    inputs = (["x", "w"], ["y"], "layer")
    node = helper.make_node("ResidualBinaryConv", *inputs, domain="subbyte", **attributes)
    model = tiny.build(
        [node],
        {"w": normal(0, 4, 3, 3, 3)},
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 4, 6, 6]},
        extra_domain="subbyte",
    )
    with pytest.raises(UnsupportedOperatorError, match=r"subbyte.ResidualBinaryConv \(node layer"):
        prepare(model, "net")
