"""1-D networks are prepared as 2-D ones of height one, and compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper

from subbyte.graph import query
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.network import Network
from tests.graph.builder import Builder
from tests.graph.one_node import compare, run_module, run_ort

CHANNELS, LENGTH = 8, 12
Between = Callable[[Builder, str], str]


def conv(b: Builder, name: str, x: str, inputs: int = CHANNELS, **attributes: Any) -> str:
    """A convolution of three places, which keeps the length."""
    group = attributes.get("group", 1)
    weight = b.weight(f"{name}.weight", CHANNELS, inputs // group, 3)
    return b.op("Conv", name, x, weight, **{"pads": [1, 1], **attributes})


def op(kind: str, *constants: Any, dtype: Any = np.float32, **attributes: Any) -> Between:
    """One node that reads x, then constants."""

    def add(b: Builder, x: str) -> str:
        names = [b.constant(f"c{n}", value, dtype) for n, value in enumerate(constants)]
        return b.op(kind, "op", x, *names, **attributes)

    return add


def ints(kind: str, *constants: Any, **attributes: Any) -> Between:
    return op(kind, *constants, dtype=np.int64, **attributes)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def chain(*steps: tuple[str, tuple[str, ...], dict[str, Any]]) -> Between:
    """Nodes by kind, inputs (``x``: the sequence) and attributes; each is named by its place."""

    def add(b: Builder, x: str) -> str:
        names = {"x": x}
        for place, (kind, inputs, attributes) in enumerate(steps):
            names[str(place)] = b.op(kind, f"n{place}", *(names[i] for i in inputs), **attributes)
        return names[str(len(steps) - 1)]

    return add


def gated(b: Builder, x: str) -> str:
    """Split, Sigmoid, Mul, Concat: gates of channels."""
    halves = b.constant("halves", [4, 4], np.int64)
    b.nodes.append(helper.make_node("Split", [x, halves], ["half", "other"], "split", axis=-2))
    gate = b.op("Sigmoid", "gate", "other")
    return b.op("Concat", "op", b.op("Mul", "gated", "half", gate), "half", axis=1)


def squeeze_excite(b: Builder, x: str) -> str:
    axes = b.constant("axes", [-1], np.int64)
    mean = b.op("ReduceMean", "mean", x, axes, keepdims=1)
    weight = b.weight("se.weight", CHANNELS, CHANNELS, 1)
    return b.op("Mul", "op", x, b.op("Sigmoid", "gate", b.op("Conv", "se", mean, weight)))


def shuffled(b: Builder, x: str) -> str:
    return b.op("Gather", "op", x, b.constant("order", list(range(8))[::-1], np.int64), axis=1)


def resized(b: Builder, x: str) -> str:
    return b.op("Resize", "op", x, "", b.constant("scales", [1, 1, 2]), mode="nearest")


def resized_to(b: Builder, x: str) -> str:
    sizes = b.constant("sizes", [2, CHANNELS, 20], np.int64)
    return b.op("Resize", "op", x, "", "", sizes, mode="linear")


def normalized(b: Builder, x: str) -> str:
    names = [b.constant(n, 1 + abs(random(CHANNELS)) / 9) for n in ("s", "b", "m", "v")]
    return b.op("BatchNormalization", "op", b.op("Relu", "r", x), *names)


def by_channel(kind: str, **attributes: Any) -> Between:
    def add(b: Builder, x: str) -> str:
        names = [b.constant(n, 1 + abs(random(CHANNELS)) / 9) for n in ("s", "b")]
        return b.op(kind, "op", x, *names, **attributes)

    return add


def up(b: Builder, x: str) -> str:
    weight = b.weight("up.weight", CHANNELS, CHANNELS, 4)
    return b.op("ConvTranspose", "op", x, weight, strides=[2], pads=[1, 1])


def up_to_shape(b: Builder, x: str) -> str:
    weight = b.weight("up.weight", CHANNELS, CHANNELS, 4)
    return b.op("ConvTranspose", "op", x, weight, strides=[2], output_shape=[24])


def up_uneven(b: Builder, x: str) -> str:
    weight = b.weight("up.weight", CHANNELS, 4, 3)
    return b.op(
        "ConvTranspose", "op", x, weight, strides=[2], output_padding=[1], group=2, auto_pad="VALID"
    )


BETWEEN: dict[str, Between] = {
    "relu": op("Relu"),
    "clip": op("Clip", 0.0, 6.0),
    "channel scale": op("Mul", abs(random(CHANNELS, 1))),
    "place offset": op("Add", random(LENGTH)),
    "both": op("Sub", random(1, CHANNELS, LENGTH)),
    "prelu": op("PRelu", random(CHANNELS, 1)),
    "hard swish": op("HardSwish"),
    "silu": chain(("Sigmoid", ("x",), {}), ("Mul", ("x", "0"), {})),
    "where": chain(("IsNaN", ("x",), {}), ("Relu", ("x",), {}), ("Where", ("0", "1", "x"), {})),
    "residual": chain(("Tanh", ("x",), {}), ("Add", ("0", "x"), {})),
    "gates of channels": gated,
    "squeeze-excite": squeeze_excite,
    "softmax": op("Softmax", axis=1),
    "softmax of places": op("LogSoftmax"),
    "batch norm": normalized,
    "instance norm": by_channel("InstanceNormalization"),
    "max pool": op("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1),
    "average pool": op("AveragePool", kernel_shape=[2], strides=[2], count_include_pad=1),
    "dilated pool": op("MaxPool", kernel_shape=[3], dilations=[2]),
    "same pool": op("AveragePool", kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER"),
    "lp pool": op("LpPool", kernel_shape=[2]),
    "slice of places": ints("Slice", [1], [-1], [2]),
    "slice of channels": ints("Slice", [0, 7], [2, -9], [0, 1], [1, -1]),
    "slice of first axes": ints("Slice", [0, 0], [9, 8]),
    "pad": ints("Pad", [0, 0, 2, 0, 0, 1]),
    "reflected pad": ints("Pad", [0, 0, 2, 0, 0, 1], mode="reflect"),
    "shuffle": shuffled,
    "resize": resized,
    "resize to a size": resized_to,
    "transposed": up,
    "transposed to a shape": up_to_shape,
    "transposed, uneven": up_uneven,
}

ENDS: dict[str, Between] = {
    "mean": ints("ReduceMean", [2], keepdims=0),
    "greatest of channels": ints("ReduceMax", [1], keepdims=0),
    "sum": ints("ReduceSum", [-2, -1], keepdims=0),
    "everything": op("ReduceMean"),
    "flat": op("Flatten"),
    "flat, last": op("Flatten", axis=-1),
    "flat, all": op("Flatten", axis=3),
    "pooled": lambda b, x: b.op(
        "Squeeze", "op", b.op("GlobalMaxPool", "p", x), b.constant("behind", [-1], np.int64)
    ),
}


def build(between: Between, end: Between | None = None) -> Builder:
    """convolution -> ``between`` -> convolution -> ``end``; the batch is 2 or more."""
    b = Builder()
    b.inputs = {"x": ["N", CHANNELS, LENGTH]}
    last = conv(b, "last", between(b, conv(b, "first", "x")))
    if end is not None:
        end(b, last)
    return b


def borders(network: Network) -> Counter[str]:
    return Counter(
        node.op_type for node in network.model.graph if node.op_type in ("Squeeze", "Unsqueeze")
    )


def check(b: Builder, /, **outputs: int) -> Network:
    """Assert that the prepared network computes what ONNX Runtime does; return it."""
    model = b.model(**outputs)
    x = [b.samples()["x"]]
    compare(run_module(model, x), run_ort(model, x), 1e-5)
    return b.network(**outputs)


@pytest.mark.parametrize("name", BETWEEN)
def test_nodes_between_convolutions_compute_on_maps(name: str) -> None:
    network = check(build(BETWEEN[name]), last=3)
    assert borders(network) == {"Unsqueeze": 1, "Squeeze": 1}
    assert {len(layer.kernel_shape) for layer in network.layers} == {2}
    assert network.model.graph.outputs[0].name == "last"


@pytest.mark.parametrize("name", ENDS)
def test_nodes_that_leave_no_sequence_read_maps(name: str) -> None:
    ranks = {"everything": 3, "flat": 2, "flat, last": 2, "flat, all": 2, "sum": 1}
    network = check(build(BETWEEN["silu"], ENDS[name]), op=ranks.get(name, 2))
    dropped = int(name in ("pooled", "everything"))
    assert borders(network) == Counter({"Unsqueeze": 1, "Squeeze": dropped})
    assert all(query.rank(layer.node.outputs[0]) == 4 for layer in network.layers)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2]},
        {"dilations": [3], "pads": [3, 3]},
        {"group": CHANNELS},
        {"auto_pad": "SAME_LOWER", "strides": [2], "pads": None},
        {"pads": [2, 0]},
    ],
    ids=["stride", "dilation", "depthwise", "same", "causal"],
)
def test_convolutions(attributes: dict[str, Any]) -> None:
    b = Builder()
    b.inputs = {"x": ["N", CHANNELS, LENGTH]}
    conv(b, "a", "x", **attributes)
    if attributes.get("pads", 0) is None:
        del b.nodes[-1].attribute[-1]
    (layer,) = check(b, a=3).layers
    assert layer.weight == "a.weight"
    assert layer.kernel_shape == (1, 3)


def test_other_readers_get_the_sequence() -> None:
    b = build(op("Relu"))
    turned = b.op("Transpose", "turned", "op", perm=[0, 2, 1])
    b.op("MatMul", "rows", turned, b.weight("rows.weight", CHANNELS, 4))
    assert borders(check(b, rows=3, last=3)) == {"Unsqueeze": 1, "Squeeze": 2}


def test_sums_with_a_sequence_that_no_layer_reads_stay() -> None:
    b = build(op("Relu"))
    b.inputs["r"] = ["N", CHANNELS, LENGTH]
    norm = b.op("Softmax", "s", b.op("Transpose", "t", b.op("Add", "sum", "last", "r")))
    network = b.network(**{norm: 3})
    assert borders(network) == {"Unsqueeze": 1, "Squeeze": 1}


@pytest.mark.parametrize(("axis", "perm"), [(2, None), (3, [0, 1, 3, 2]), (1, [0, 2, 3, 1])])
def test_nodes_between_a_squeeze_and_an_unsqueeze_compute_on_maps(
    axis: int, perm: list[int] | None
) -> None:
    b = Builder()
    b.inputs = {"x": ["N", CHANNELS, 1, LENGTH]}
    axes = b.constant("axes", [axis], np.int64)
    a = b.op("Conv", "a", "x", b.weight("a.weight", 8, 8, 1, 3))
    map_ = a if perm is None else b.op("Transpose", "t", a, perm=perm)
    row = b.op("Squeeze", "row", map_, axes)
    factor = b.constant("factor", random(LENGTH - 2 if axis == 1 else CHANNELS, 1))
    scaled = b.op("Mul", "scaled", row, factor)
    summed = b.op("Add", "summed", scaled, b.op("Sigmoid", "gate", row))
    b.op("Relu", "end", b.op("Unsqueeze", "back", summed, axes))
    network = check(b, end=4)
    assert not borders(network)
    assert query.rank(network.model.graph.outputs[0]) == 4


def test_pools_alone_stay_sequences() -> None:
    b = Builder()
    b.inputs = {"x": ["N", CHANNELS, LENGTH]}
    b.op("MaxPool", "op", "x", kernel_shape=[2])
    assert not borders(check(b, op=3))


def test_layers_of_sequences_are_on_islands() -> None:
    b = build(BETWEEN["silu"], op("Relu"))
    plan = plan_islands(b.network(op=3))
    assert {layer: row.form for layer, row in plan.layers.items()} == {
        "first": "uint8",
        "last": "uint8",
    }
    assert not plan.nodes - {"n0", "n1", "op", "op.map"}
