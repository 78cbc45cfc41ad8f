"""A small valid node of every operator of the native library, for `tests.native.fuzz`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx

from subbyte.graph.islands.operators import elementwise, movement, pooling
from subbyte.methods import WeightShape, method_of
from subbyte.methods.binarization import BINARIZATIONS, Binarization
from tests.graph.coding import code_binary
from tests.methods.cases import CASES, Case
from tests.native.nodes import long_layers
from tests.native.nodes.coded_layers import CODERS, WINDOWS, Q, code, conv
from tests.native.nodes.island_nodes import POOLS, Q_UNARY, unary, with_unary
from tests.native.nodes.operators import OPSET, Node, layer, parameters, random_codes

# One coder of each method and variant, but for the binary ones.
CODINGS = ("product", "sign", "4-bit", "ternary", "composite", "factored")
SAME = {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 1], "auto_pad": "SAME_LOWER"}
MOST_JOINED = 16
MOST_FUNCTIONS = 64
MOST_FUSED = 4  # functions behind layers


@functools.cache
def families() -> dict[str, list[Node]]:
    """Nodes by what they share; a mutation chooses a family first, so that none is rare."""
    coded = {name: _coded(name) for name in CODERS if not name.startswith("binary")}
    binary = [node for form in BINARIZATIONS.values() for node in _binary(form)]
    binary += [conv("binary-image", window) for window in WINDOWS]
    binary.append(conv("binary-pixel", groups=3))
    grouped = [conv(name, groups=3) for name in ("product", "sign", "2-bit", "8-bit", "ternary")]
    grouped.append(_depthwise())
    long = [long_layers.linear(name, 2) for name in ("3-bit gain", "2-bit")]
    found = {**coded, "binary": binary, "grouped": grouped, "long": long}
    known = {method_of(node.function.name) for nodes in found.values() for node in nodes}
    methods = {each[0] for each in known if each}
    others = {case.name: _of_case(case) for case in CASES if case.method not in methods}
    found |= others
    return {**found, "functions": _functions(found), **_islands()}


def _of_case(case: Case) -> list[Node]:
    """Layers of a method that no other family has."""
    window = {**WINDOWS["3x3"], "group": 1}
    image, rows = {"x": random_codes((2, 5, 4, 9), 0, 255)}, {"x": random_codes((3, 19), 0, 255)}
    return [
        layer(case.code(WeightShape(64, 9, 9)), "Conv", "", image, window, Q, 3),
        layer(case.code(WeightShape(64, 1, 19)), "Linear", "Dequant", rows, {}, Q, 3),
    ]


@functools.cache
def operators() -> dict[str, Node]:
    """The first node of every type in `families`, by the type."""
    first: dict[str, Node] = {}
    for nodes in families().values():
        for node in nodes:
            first.setdefault(node.function.name, node)
    return first


def bare(node: Node) -> onnx.ModelProto:
    """Its model without the functions: what no operator of the library computes is refused."""
    model = node.model()
    del model.functions[:]
    return model


def _coded(name: str) -> list[Node]:
    nodes = [conv(name, window) for window in WINDOWS]
    forms = [("Linear", ""), ("Linear", "Dequant")]
    if name in CODINGS:
        forms += [("Conv", "Add"), ("ConvSame", ""), ("ConvSame", "Add")]
    return nodes + [_layer(name, op, form) for op, form in forms]


def _layer(name: str, op: str, form: str) -> Node:
    if op == "Linear":
        feeds = {"x": random_codes((3, 19), 0, 255)}
        return layer(code(name, WeightShape(64, 1, 19)), op, form, feeds, {}, Q, 3)
    window: dict[str, Any] = {**(WINDOWS["3x3"] if op == "Conv" else SAME), "group": 1}
    feeds = {"x": random_codes((2, 5, 4, 9), 0, 255)}
    if form == "Add":
        rows = 5 if op == "Conv" else 3
        feeds["r"] = random_codes((2, rows, 4, 64), 0, 255)
    taps = int(np.prod(window["kernel_shape"]))
    return layer(code(name, WeightShape(64, taps, 9)), op, form, feeds, window, Q, 3)


def _binary(form: Binarization) -> list[Node]:
    nodes = []
    for op, kind in (("Conv", ""), ("Conv", "Add"), ("Conv", "Dequant")):
        coded = code_binary(_signs(64, 9, 9), WeightShape(64, 9, 9), form.order, form.scales)
        feeds = {"x": random_codes((2, 5, 4, 9), 0, 255)}
        if kind == "Add":
            feeds["r"] = random_codes((2, 5, 4, 64), 0, 255)
        nodes.append(layer(coded, op, kind, feeds, {**WINDOWS["3x3"], "group": 1}, Q))
    for kind in ("", "Dequant"):
        coded = code_binary(_signs(64, 1, 19), WeightShape(64, 1, 19), form.order, form.scales)
        nodes.append(layer(coded, "Linear", kind, {"x": random_codes((3, 19), 0, 255)}, {}, Q))
    return nodes


def _signs(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _depthwise() -> Node:
    feeds = {"x": random_codes((2, 9, 8, 70), 0, 255)}
    coded = code("8-bit", WeightShape(70, 9, 1, 70))
    return layer(coded, "Conv", "", feeds, {**WINDOWS["3x3"], "group": 70}, Q)


def _functions(found: dict[str, list[Node]]) -> list[Node]:
    """Of each type of layer that may have a function of its output, one with each function."""
    plain = {
        node.function.name: node
        for nodes in found.values()
        for node in nodes
        if node.function.name.endswith(("Conv", "ConvSame", "Linear"))
        and not node.function.name.startswith("Binary")
    }
    return [with_unary(node, number) for node in plain.values() for number in range(MOST_FUSED)]


def _islands() -> dict[str, list[Node]]:
    x, r = random_codes((2, 5, 6, 70), 0, 255), random_codes((2, 1, 1, 70), 0, 255)
    q = {"x": (0.02, 128), "r": (0.03, 7), "y": (0.05, 60)}
    pair = {"x": x, "r": r}
    pairs = [
        Node([elementwise.sum_function(OPSET)], parameters(q), pair),
        Node([elementwise.product_function(OPSET)], parameters(q), pair),
    ]
    tables = []
    for number in range(MOST_FUNCTIONS):
        function, table = unary(number)
        tables.append(Node([function], {**parameters(Q_UNARY), "table": table}, {"x": x}))
    sizes = {"shape": [0, 0, 0, 5, 14], "joined": [0, 0, 0, 70]}
    shuffled = Node([movement.shuffle_function(OPSET)], {}, {"x": x}, sizes)
    joined = []
    for count in range(2, MOST_JOINED + 1):
        feeds = {f"x{index}": x[..., : 5 + index] for index in range(count)}
        q = {**dict.fromkeys(feeds, (0.02, 1)), "y": (0.02, 1)}
        function = movement.concat_function(count, OPSET)
        joined.append(Node([function], parameters(q), feeds, {"axis": 3}))
    q = {"x": (0.02, 128), "y": (0.05, 60)}
    function = pooling.global_average_pool_function(OPSET)
    pools = [Node([function], parameters(q), {"x": x})]
    for window in POOLS.values():
        window = {**window, "dilations": [1, 2]}
        pools.append(Node([pooling.max_pool_function(OPSET)], {}, {"x": x}, window))
        window = {key: window[key] for key in window if key != "dilations"}
        window["count_include_pad"] = 1
        function = pooling.average_pool_function(OPSET)
        pools.append(Node([function], parameters(q), {"x": x}, window))
    return {
        "tables": tables,
        "pairs": pairs,
        "shuffles": [shuffled],
        "joined": joined,
        "pools": pools,
    }
