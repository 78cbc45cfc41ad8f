"""What is carried as uint8, with which limits, and what stays float for which reason."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.graph.islands.intervals import Interval
from subbyte.graph.islands.plan import IslandPlan, float_plan, plan_islands
from subbyte.graph.islands.shared_scales import Group
from tests.graph.builder import Builder


def group(plan: IslandPlan, value: str) -> Group:
    name = plan.group_of[value]
    return next(group for group in plan.groups if group.name == name)


def form(plan: IslandPlan, layer: str) -> str:
    return plan.layers[layer].form


def test_relu_after_a_layer_is_absorbed() -> None:
    b = Builder()
    y = b.op("Relu", "r", b.conv("a", "x", 8, 16))
    plan = plan_islands(b.network(**{b.head(b.conv("b", y, 16, 16), 16): 2}))
    assert plan.absorbed == {"r": "a"}
    assert group(plan, "a").limit == Interval(0, math.inf)
    assert not group(plan, "a").signed
    assert group(plan, "b").signed
    assert group(plan, "a").params(-3, 5.1).zero_point == 0
    assert group(plan, "b").params(-3, 5.1).zero_point == 95


def test_relu_of_a_value_that_is_also_read_signed_is_a_node() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    y = b.conv("b", b.op("Relu", "r", a), 8, 8)
    plan = plan_islands(b.network(**{b.head(b.op("Concat", "c", a, y, axis=1), 16): 2}))
    assert plan.absorbed == {}
    assert "r" in plan.nodes
    assert group(plan, "a") == group(plan, "r")
    assert group(plan, "r").signed


def test_clip_bounds_the_scale() -> None:
    b = Builder()
    low, high = b.constant("low", 0), b.constant("high", 6)
    y = b.op("Clip", "r", b.conv("a", "x", 8, 16), low, high)
    plan = plan_islands(b.network(**{b.head(b.conv("b", y, 16, 16), 16): 2}))
    assert plan.absorbed == {"r": "a"}
    params = group(plan, "a").params(0, 9)
    assert 5.999 < 255 * params.scale <= 6.00001
    assert group(plan, "a").params(0, 3).scale == pytest.approx(3 / 255)


def test_clamp_wanted_through_a_concatenation_and_a_pool() -> None:
    b = Builder()
    joined = b.op("Concat", "c", b.conv("a", "x", 8, 8), b.conv("b", "x", 8, 8), axis=1)
    pooled = b.op("MaxPool", "p", joined, kernel_shape=[2, 2], strides=[2, 2])
    plan = plan_islands(
        b.network(**{b.head(b.conv("d", b.op("Relu", "r", pooled), 16, 16), 16): 2})
    )
    assert plan.absorbed == {"r": "p"}
    assert {v.name for v in group(plan, "a").values} == {"a", "b", "c", "p", "r"}
    assert not group(plan, "a").signed


def test_concatenation_leaves_an_input_that_others_read_its_own_scale() -> None:
    b = Builder()
    a, other = b.conv("a", "x", 8, 8), b.conv("b", "x", 8, 8)
    joined = b.op("Concat", "c", a, other, axis=1)
    y = b.op("Concat", "e", b.conv("d", a, 8, 8), joined, axis=1)
    plan = plan_islands(b.network(**{b.head(b.conv("f", y, 24, 8), 8): 2}))
    assert group(plan, "b") == group(plan, "c") == group(plan, "e") == group(plan, "d")
    assert group(plan, "a") != group(plan, "c")


def test_sum_is_taken_into_the_last_convolution() -> None:
    b = Builder()
    first = b.conv("a", "x", 8, 16)
    y = b.op("Relu", "r", b.op("Add", "s", b.conv("b", "x", 8, 16), first))
    plan = plan_islands(b.network(**{b.head(b.conv("c", y, 16, 16), 16): 2}))
    assert plan.fused == {"s": "b"}
    assert plan.absorbed == {"r": "s"}
    assert group(plan, "b").signed


def test_sum_of_a_value_with_another_reader_is_a_node() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    y = b.op("Add", "s", a, b.conv("b", b.conv("c", a, 8, 8), 8, 8))
    z = b.op("Add", "t", y, a)
    plan = plan_islands(b.network(**{b.head(b.conv("d", z, 8, 8), 8): 2}))
    assert plan.fused == {"s": "b"}
    assert {"s", "t"} <= plan.nodes


def test_broadcast_sum_is_not_fused() -> None:
    b = Builder()
    pooled = b.op("GlobalAveragePool", "g", b.conv("a", "x", 8, 8))
    y = b.op("Add", "s", pooled, b.conv("b", "x", 8, 8))
    plan = plan_islands(b.network(**{b.head(b.conv("c", y, 8, 8), 8): 2}))
    assert plan.fused == {}
    assert "s" in plan.nodes


def test_node_between_floats_stays_float() -> None:
    b = Builder()
    a = b.op("Sigmoid", "f", b.conv("a", "x", 8, 8))
    y = b.op("Softmax", "t", b.op("Add", "s", a, b.op("Tanh", "h", a)), axis=1)
    plan = plan_islands(b.network(t=4))
    assert y == "t"
    assert plan.nodes == frozenset()
    assert form(plan, "a") == "uint8"


def test_pointwise_nodes_inside_an_island_round_only_their_last_value() -> None:
    b = Builder()
    y = b.op("LeakyRelu", "l", b.conv("a", "x", 8, 8), alpha=0.1)
    z = b.op("Mul", "m", y, b.constant("k", 2.0))
    plan = plan_islands(b.network(**{b.head(b.conv("b", z, 8, 8), 8): 2}))
    assert {"l", "m"} <= plan.nodes
    assert "l" not in plan.group_of
    assert "m" in plan.group_of


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_sum_or_product_before_pointwise_nodes_is_not_rounded(kind: str) -> None:
    """Both operands are read elsewhere: no convolution could take the sum in."""
    b = Builder()
    x = b.conv("a", "x", 8, 8)
    z = b.conv("b", x, 8, 8)
    y = b.op("LeakyRelu", "l", b.op(kind, "s", x, z), alpha=0.1)
    y = b.op("Concat", "c", b.conv("d", y, 8, 8), z, axis=1)
    plan = plan_islands(b.network(**{b.head(b.conv("e", y, 16, 8), 8): 2}))
    assert plan.fused == {}
    assert {"s", "l"} <= plan.nodes
    assert "s" not in plan.group_of
    assert {"a", "b", "l"} <= plan.group_of.keys()


def test_sum_taken_into_a_convolution_is_rounded() -> None:
    b = Builder()
    x = b.conv("a", "x", 8, 8)
    y = b.op("LeakyRelu", "l", b.op("Add", "s", x, b.conv("b", x, 8, 8)), alpha=0.1)
    plan = plan_islands(b.network(**{b.head(b.conv("d", y, 8, 8), 8): 2}))
    assert plan.fused == {"s": "b"}
    assert "s" in plan.group_of


def test_sum_that_something_else_reads_is_rounded() -> None:
    b = Builder()
    x = b.conv("a", "x", 8, 8)
    z = b.conv("b", x, 8, 8)
    s = b.op("Add", "s", x, z)
    y = b.op("Concat", "c", b.op("LeakyRelu", "l", s, alpha=0.1), s, z, axis=1)
    plan = plan_islands(b.network(**{b.head(b.conv("d", y, 24, 8), 8): 2}))
    assert "s" in plan.group_of


def test_scores_stay_float() -> None:
    b = Builder()
    plan = plan_islands(b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2}))
    assert form(plan, "scores") == "dequant"
    assert "scores" not in plan.group_of


def test_linear_chain_is_an_island_and_so_are_functions_of_one_value_in_it() -> None:
    b = Builder()
    rows = b.op("Flatten", "rows", b.conv("a", "x", 8, 8))
    y = b.op("Relu", "r", b.linear("one", rows, 8 * 64, 32))
    y = b.op("Relu", "q", b.linear("two", y, 32, 32))
    y = b.linear("three", b.op("Sigmoid", "g", b.linear("four", y, 32, 32)), 32, 32)
    b.op("Sigmoid", "out", y)
    plan = plan_islands(b.network(out=2))
    assert form(plan, "one") == form(plan, "two") == form(plan, "four") == "uint8"
    assert list(plan.functions) == ["g"]
    assert form(plan, "three") == "dequant"
    assert "out" not in plan.nodes


def test_a_gelu_of_many_nodes_between_linear_layers_is_one_function() -> None:
    b = Builder()
    rows = b.op("Flatten", "rows", b.conv("a", "x", 8, 8))
    x = b.linear("one", rows, 8 * 64, 32)
    inner = b.op("Erf", "e", b.op("Div", "d", x, b.constant("root", 2**0.5)))
    half = b.op("Mul", "m", x, b.op("Add", "p", inner, b.constant("unit", 1.0)))
    y = b.linear("two", b.op("Mul", "g", half, b.constant("half", 0.5)), 32, 32)
    plan = plan_islands(b.network(**{y: 2}))
    assert form(plan, "one") == "uint8"
    assert {name: f.argument.name for name, f in plan.functions.items()} == {"g": x}


def test_arithmetic_on_scores_with_other_values_stays_float() -> None:
    b = Builder()
    rows = b.op("Flatten", "rows", b.conv("a", "x", 8, 8))
    gate = b.op("Sigmoid", "gate", b.linear("one", rows, 8 * 64, 32))
    both = b.op("Mul", "both", gate, b.linear("two", rows, 8 * 64, 32))
    y = b.linear("three", both, 32, 32)
    plan = plan_islands(b.network(**{y: 2}))
    assert form(plan, "two") == "dequant"


def test_pixelwise_head_gives_floats_and_any_other_last_convolution_codes() -> None:
    b = Builder()
    a = b.conv("a", "x", 8, 8)
    b.op("Sigmoid", "out", b.conv("head", a, 8, 10, kernel=1))
    b.conv("last", a, 8, 10)
    plan = plan_islands(b.network(out=4, last=4))
    assert form(plan, "head") == "dequant"
    assert form(plan, "last") == "uint8"


def test_layers_that_cannot_compute_on_codes_say_why() -> None:
    b = Builder()
    weight = b.weight("up.weight", 8, 8, 2, 2)
    up = b.op("ConvTranspose", "up", b.conv("a", "x", 8, 8), weight, strides=[2, 2])
    deep = b.op("Reshape", "deep", up, b.constant("deep shape", [0, 8, 2, -1, 2], "int64"))
    block = b.op("Conv", "block", deep, b.weight("block.weight", 8, 8, 1, 3, 1))
    flat = b.op("Reshape", "flat", block, b.constant("shape", [0, 8, -1], "int64"))
    left = b.op("MatMul", "left", b.weight("left.weight", 4, 8), flat)
    plan = plan_islands(b.network(**{left: 3}))
    assert {name: plan.layers[name].reason for name in ("up", "block", "left")} == {
        "up": "transposed convolution",
        "block": "3-D convolution",
        "left": "weight on the left of the product",
    }


def test_only_coded_layers_are_planned() -> None:
    b = Builder()
    network = b.network(**{b.head(b.conv("b", b.conv("a", "x", 8, 8), 8, 8), 8): 2})
    plan = plan_islands(network, coded={"a.weight"})
    assert set(plan.layers) == {"a"}
    assert set(plan.group_of) == {"x", "a"}


def test_values_kept_float_take_their_group_and_layers_along() -> None:
    b = Builder()
    a = b.op("Relu", "r", b.conv("a", "x", 8, 8))
    pooled = b.op("MaxPool", "p", a, kernel_shape=[2, 2])
    y = b.conv("b", pooled, 8, 8)
    network = b.network(**{b.head(b.conv("c", y, 8, 8), 8): 2})
    plan = plan_islands(network, keep_float={"r": "range 1e9 times its median"})
    assert plan.layers["a"].reason == "output: range 1e9 times its median"
    assert plan.layers["b"].reason == "input: range 1e9 times its median"
    assert form(plan, "c") == "uint8"
    assert not {"a", "r", "p"} & set(plan.group_of)


def test_float_plan_keeps_everything_float() -> None:
    b = Builder()
    plan = float_plan(b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2}), "asked for")
    assert {(layer.form, layer.reason) for layer in plan.layers.values()} == {
        ("float", "asked for")
    }
    assert plan.groups == ()


def test_params_of_a_value_that_was_always_zero() -> None:
    b = Builder()
    plan = plan_islands(b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2}))
    assert plan.groups[0].params(0.0, 0.0).scale > 0


LOWS = st.floats(-1e4, -1e-4)
HIGHS = st.just(0.0) | st.floats(1e-4, 1e4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LOWS, HIGHS)
def test_signed_params_carry_the_range_and_hardly_more(low: float, high: float) -> None:
    params = Group("x", (), Interval(-math.inf, math.inf)).params(low, high)
    slack = 1 + 1e-6
    assert 1 <= params.zero_point <= 254
    assert params.low <= low / slack
    assert params.high >= high / slack
    assert 255 * params.scale <= (high - low) * 255 / 253 * slack


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LOWS, st.floats(1e-4, 1e4))
def test_signed_params_stay_within_their_limits(low: float, high: float) -> None:
    """Where both ends are limits the zero point may lie between two codes: half of one is lost."""
    params = Group("x", (), Interval(low, high)).params(2 * low, 2 * high)
    slack = 1 + 1e-6
    kept = 1 - 1 / min(params.zero_point, 255 - params.zero_point)
    assert slack * low <= params.low <= kept * low
    assert kept * high <= params.high <= slack * high


def test_signed_group_whose_values_are_not_negative_uses_all_codes() -> None:
    b = Builder()
    plan = plan_islands(b.network(**{b.head(b.conv("a", "x", 8, 8), 8): 2}))
    params = group(plan, "x").params(0.0, 255.0)
    assert (params.scale, params.zero_point) == (1.0, 0)


@pytest.mark.parametrize(("mode", "joined"), [("half_pixel", True), ("tf_crop_and_resize", False)])
def test_a_resize_that_gives_numbers_beyond_the_image_stays_float(mode: str, joined: bool) -> None:
    b = Builder()
    b.constant("roi", [0, 0, -0.5, -0.5, 1, 1, 1.5, 1.5])
    b.constant("scales", [1, 1, 2, 2])
    features = b.conv("a", "x", 8, 8)
    more = {"mode": "nearest", "coordinate_transformation_mode": mode, "extrapolation_value": 3.0}
    b.conv("c", b.op("Resize", "larger", features, "roi", "scales", **more), 8, 8)
    assert ("larger" in plan_islands(b.network(c=4)).nodes) is joined
