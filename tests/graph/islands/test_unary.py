"""Functions of one value: which nodes make one, and what stays outside."""

from __future__ import annotations

import math

import pytest

from subbyte.graph.islands.plan import IslandPlan, plan_islands
from tests.graph.builder import Builder
from tests.graph.unary import FUNCTIONS


def planned(b: Builder, y: str, channels: int = 8) -> IslandPlan:
    """The plan where a convolution reads ``y``."""
    return plan_islands(b.network(**{b.head(b.conv("last", y, channels, 8), 8): 2}))


def nodes(plan: IslandPlan, value: str) -> list[str]:
    return [str(node.outputs[0].name) for node in plan.functions[value].nodes]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_chain_is_one_function_of_the_layer_before(name: str) -> None:
    b = Builder()
    y = FUNCTIONS[name](b, b.conv("a", "x", 8, 8))
    plan = planned(b, y)
    assert list(plan.functions) == [y]
    assert plan.functions[y].argument.name == "a"
    assert plan.within == set(nodes(plan, y)) - {y}
    assert {"a", y} <= plan.group_of.keys()
    assert not plan.within & plan.group_of.keys()


def test_the_layer_before_takes_a_function_in() -> None:
    b = Builder()
    assert planned(b, b.op("Tanh", "t", b.conv("a", "x", 8, 8))).fused == {"t": "a"}
    b = Builder()
    relu = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    assert planned(b, b.op("Tanh", "t", relu)).fused == {"t": "a"}


def test_a_layer_that_others_read_takes_no_function_in() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    assert planned(b, b.op("Concat", "cat", b.op("Tanh", "t", a), a, axis=1), 16).fused == {}
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    tanh = b.op("Tanh", "t", b.op("Relu", "r", a))
    assert planned(b, b.op("Concat", "cat", tanh, a, axis=1), 16).fused == {}
    b = Builder()
    scores = b.head(b.conv("last", b.op("Tanh", "t", b.conv("a", "x", 8, 8)), 8, 8), 8)
    assert plan_islands(b.network(a=4, **{scores: 2})).fused == {}


def test_a_clamp_alone_is_no_function() -> None:
    b = Builder()
    plan = planned(b, b.op("Relu", "r", b.conv("a", "x", 8, 8)))
    assert plan.functions == {}
    assert plan.absorbed == {"r": "a"}


def test_a_clamp_of_a_function_that_others_read_stays_a_clamp() -> None:
    b = Builder()
    leaky = b.op("LeakyRelu", "l", b.conv("a", "x", 8, 8))
    joined = b.op("Concat", "cat", leaky, b.op("Relu", "r", leaky), axis=1)
    plan = planned(b, joined, 16)
    assert list(plan.functions) == ["l"]
    assert plan.group_of["r"] == plan.group_of["l"]


def test_a_value_that_others_read_is_the_argument_of_what_follows() -> None:
    b = Builder()
    sigmoid = b.op("Sigmoid", "s", b.conv("a", "x", 8, 8))
    other = b.conv("b", sigmoid, 8, 8)
    joined = b.op("Concat", "cat", b.op("Tanh", "t", sigmoid), other, axis=1)
    plan = planned(b, joined, 16)
    assert {y: function.argument.name for y, function in plan.functions.items()} == {
        "s": "a",
        "t": "s",
    }
    assert plan.within == frozenset()


def test_products_of_two_values_are_none() -> None:
    b = Builder()
    x, gate = b.conv("a", "x", 8, 8), b.op("Sigmoid", "s", b.conv("b", "x", 8, 8))
    plan = planned(b, b.op("Mul", "m", x, gate))
    assert list(plan.functions) == ["s"]
    assert "m" in plan.nodes


def test_constants_of_many_numbers_are_none() -> None:
    b = Builder()
    slopes = b.constant("slopes", [[[i / 8]] for i in range(8)])
    plan = planned(b, b.op("Tanh", "t", b.op("PRelu", "p", b.conv("a", "x", 8, 8), slopes)))
    assert plan.functions == {}
    assert "t" in plan.nodes


def test_range_of_the_argument_ends_where_hard_swish_is_flat() -> None:
    b = Builder()
    plan = planned(b, b.op("HardSwish", "h", b.conv("a", "x", 8, 8)))
    limits = {value.name: value.limit for group in plan.groups for value in group.values}
    assert (limits["a"].low, limits["a"].high) == (-3, math.inf)
