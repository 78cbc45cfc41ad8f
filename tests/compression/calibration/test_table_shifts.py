"""Which layers are looked up: those worth it, as long as the outputs bear it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from subbyte.compression.calibration import table_shifts as tables
from subbyte.compression.calibration.activation_ranges import quantize_activations
from subbyte.compression.calibration.table_errors import MOST_SHIFT
from subbyte.compression.calibration.table_shifts import Limits, table_shifts
from subbyte.compression.config import CompressOptions
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.weight_layout import to_onnx_layout
from subbyte.methods import CodedWeight, decode_weight
from tests import tiny
from tests.compression.nets import normal, samples_for, smooth_images, weight_of
from tests.graph.coding import code_product, code_scalar

Arguments = tuple[
    Run, GraphModule, dict[str, CodedWeight], IslandPlan, dict[str, QuantParams], Samples
]


def coded_run(model: onnx.ModelProto, samples: Samples, words: int = 0) -> Arguments:
    """The arguments of `table_shifts` for random codes of 16 or more ``words``, or for 2 bits."""
    network = prepare(model, "tiny")
    module = GraphModule(network).eval()
    coded: dict[str, CodedWeight] = {}
    for layer in network.layers:
        weight = weight_of(layer).numpy()
        if words:
            coded[layer.weight] = code_product(weight, layer.shape, words=words)
        else:
            coded[layer.weight] = code_scalar(
                weight, layer.shape, 8 if layer.shape.inputs < 4 else 2
            )
        value = to_onnx_layout(layer, decode_weight(coded[layer.weight]))
        module.set_constant(layer.weight, torch.from_numpy(value.copy()))
    run = Run(network, samples)
    plan, params = quantize_activations(run, module)
    return run, module, coded, plan, params, samples


def classifier_run(words: int = 0) -> Arguments:
    model = tiny.classifier()
    return coded_run(model, samples_for(model, smooth_images(20, size=tiny.SIZE)), words)


ANY_WORK, ALL = Limits(least_work=0), Limits(least_work=0, least_gain=0.0)


def test_layers_of_many_words_get_a_shift_only_where_they_gain() -> None:
    arguments = classifier_run(words=64)
    assert table_shifts(*arguments, limits=ANY_WORK) == {}
    names = {layer.name for layer in arguments[0].network.layers}
    assert table_shifts(*arguments, limits=ALL).keys() == names


def test_layers_worth_it_get_a_shift() -> None:
    arguments = classifier_run()
    assert table_shifts(*arguments) == {}
    # Worth more than ten microseconds, but slower.
    assert table_shifts(*arguments, limits=ANY_WORK) == {}
    expected = {x.name for x in arguments[0].network.layers if x.shape.inputs >= 4}
    found = table_shifts(*arguments, limits=ALL)
    assert set(found) == expected
    assert all(0 <= shift <= MOST_SHIFT for shift in found.values())


def two_branches() -> onnx.ModelProto:
    """y [N, 64] = x A + 20 x B: what the tables of B round, y shows 400 times as much."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["xa"], "calm"),
        helper.make_node("MatMul", ["x", "b"], ["xb"], "loud"),
        helper.make_node("Mul", ["xb", "twenty"], ["scaled"], "scale"),
        helper.make_node("Add", ["xa", "scaled"], ["y"], "add"),
    ]
    twenty = np.array(20, np.float32)
    constants = {"a": normal(0, 32, 64), "b": normal(1, 32, 64), "twenty": twenty}
    return tiny.build(nodes, constants, {"x": ["N", 32]}, {"y": ["N", 64]})


def branches_run() -> Arguments:
    model = two_branches()
    return coded_run(model, samples_for(model, {"x": normal(3, 40, 32)}), words=16)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(1e-7, set()), (1e-5, {"calm"}), (1.0, {"calm", "loud"})],
    ids=["nothing", "little", "much"],
)
def test_layers_are_given_up_whose_tables_add_much_to_the_error_there_is(
    allowed: float, expected: set[str]
) -> None:
    """Random codes are about as far from float as their outputs vary."""
    found = table_shifts(*branches_run(), limits=replace(ALL, allowed=allowed))
    assert set(found) == expected


def test_for_a_latency_layers_are_looked_up_as_planned() -> None:
    run, *others = branches_run()
    run = replace(run, config=CompressOptions(latency=1.0))
    found = table_shifts(run, *others, limits=replace(ALL, allowed=1e-7))
    assert set(found) == {"calm", "loud"}


@torch.no_grad()
def test_the_error_there_is_is_the_coded_network_s_with_rounded_values() -> None:
    run, module, _, plan, params, samples = branches_run()
    found = tables._portable_error(run, module, plan, params, samples)
    x = torch.from_numpy(normal(3, 40, 32))
    exact, coded = GraphModule(run.network).eval()(x), module(x)
    lost = float((coded - exact).square().mean() / exact.var(correction=0))
    assert found == pytest.approx([lost], rel=0.2)
    assert found[0] != pytest.approx(lost, rel=1e-6)
