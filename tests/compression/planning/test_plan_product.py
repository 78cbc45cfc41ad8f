"""Plans of product codes: Q-CNN's own settings, and how many words a layer takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.make import make_plan
from subbyte.compression.run import Run
from subbyte.errors import OptionError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS, Product
from subbyte.methods.product.form import ProductOptions
from tests import tiny
from tests.compression.nets import normal, samples_for

SMALL = tiny.classifier(tiny.conv_weights(width=32))


def branched() -> onnx.ModelProto:
    """Convolutions of 3 and 96 channels, one with a single output, two linear layers."""
    weights = {
        "first": normal(0, 96, 3, 3, 3),
        "second": normal(1, 96, 96, 1, 1),
        "third": normal(2, 1, 96, 4, 3),
        "hidden": normal(3, 40, 96),
        "last": normal(4, 30, 40),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["c1"], "c1", pads=[1] * 4),
        helper.make_node("Conv", ["c1", "second"], ["c2"], "c2"),
        helper.make_node("Conv", ["c2", "third"], ["side"], "c3"),
        helper.make_node("GlobalAveragePool", ["c2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "hidden"], ["h"], "h", transB=1),
        helper.make_node("Gemm", ["h", "last"], ["y"], "l", transB=1),
    ]
    outputs: dict[str, Any] = {"y": ["N", 30], "side": ["N", 1, 5, 6]}
    return tiny.build(nodes, weights, {"x": ["N", 3, 8, 8]}, outputs)


def planned(model: onnx.ModelProto, size: int, **options: Any) -> dict[str, Any]:
    samples = samples_for(model, normal(9, 8, 3, size, size))
    wishes = CompressOptions(**options)
    return make_plan(Run(prepare(model, "net"), samples, wishes)).plan


def sizes(plan: dict[str, Any]) -> dict[str, tuple[int, int]]:
    coded = {name: found for name, found in plan.items() if isinstance(found, ProductOptions)}
    assert {found.procedure for found in coded.values()} == {"paper-plain"}
    return {name: (found.group, found.words) for name, found in coded.items()}


def test_the_published_setting() -> None:
    """8/128 for convolutions, a first one as one subspace, 4/32, and 1/16 for the last."""
    plan = planned(branched(), 8, method=Product(procedure="paper-plain"))
    wanted = {"first": (3, 128), "second": (8, 64), "hidden": (4, 32), "last": (1, 16)}
    assert sizes(plan) == wanted
    assert plan["third"] == EIGHT_BITS


def test_group_and_words_in_place_of_the_published() -> None:
    plan = planned(branched(), 8, method=Product(procedure="paper-plain", group=6, words=64))
    wanted = {"first": (3, 64), "second": (6, 64), "hidden": (6, 32), "last": (1, 16)}
    assert sizes(plan) == wanted


def test_words_are_as_many_as_a_layer_fills() -> None:
    """conv2 has 32 * 9 sub-columns, the layers of `branched` at most 96 * 9."""
    assert planned(SMALL, 6, method=Product(words=256))["conv2.weight"] == ProductOptions(4, 256, 3)
    assert planned(branched(), 8, method=Product(words=256))["second"] == ProductOptions(4, 64, 3)


def test_words_with_a_budget() -> None:
    plan = planned(SMALL, 6, bits=3.0, method=Product(words=32))
    assert {o.words for o in plan.values() if isinstance(o, ProductOptions)} == {32}


def test_one_channel_a_code_with_a_budget() -> None:
    plan = planned(SMALL, 6, bits=6.5, method=Product(group=1, gain=0))
    assert plan["conv2.weight"].group == 1


def test_more_words_than_any_layer_fills() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "layer")]
    shape: list[int | str] = ["N", 3, 6, 6]
    output: list[int | str] = ["N", 24, 1, 1]
    model = tiny.build(nodes, {"w": normal(0, 24, 3, 6, 6)}, {"x": shape}, {"y": output})
    assert planned(model, 6, method=Product(words=256))
    head = tiny.build(
        [helper.make_node("Gemm", ["x", "w"], ["y"], "layer", transB=1)],
        {"w": normal(0, 24, 108)},
        {"x": ["N", 108]},
        {"y": ["N", 24]},
    )
    samples = samples_for(head, normal(1, 4, 108))
    with pytest.raises(OptionError, match=r"no layer has more than 24 sub-columns.*at most 16"):
        make_plan(Run(prepare(head, "net"), samples, CompressOptions(method=Product(words=32))))


def test_a_plan_with_more_words_than_the_layer_fills(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("[layers.head]\nmethod = 'product'\nwords = 32\n")
    with pytest.raises(OptionError, match=r"4 sub-columns \[.*: head\].*at most 16 words, got 32"):
        planned(SMALL, 6, plan=path)
