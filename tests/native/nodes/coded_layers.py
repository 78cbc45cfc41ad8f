"""Small layers of every coder, one node each, for the tests of native layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.methods import CodedWeight, WeightShape
from tests.graph.coding import (
    code_binary,
    code_composite,
    code_product,
    code_scalar,
    code_ternary,
)
from tests.native.nodes.operators import Node, layer, random_codes

# Inputs within one step of their zero point: table entries are exact at shift 0, so that
# native and portable differ in nothing but the order of float operations.
ZERO = 128
Q = {"x": (0.5, ZERO), "y": (0.04, 100), "r": (0.03, 7), "m": (0.08, 128)}
WINDOWS: dict[str, dict[str, Any]] = {
    "3x3": {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]},
    "1x1": {"kernel_shape": [1, 1], "strides": [2, 2], "dilations": [1, 1], "pads": [0, 0, 0, 0]},
    "3x2": {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 1, 1]},
}
CODERS = {
    "product": lambda w, s: halved(code_product(w, s, group=8)),
    "sign": lambda w, s: code_product(w, s, gain=1),
    "shared": lambda w, s: code_product(w, s, group=2, shared=True),
    "32-words": lambda w, s: code_product(w, s, words=32),
    "64-words": lambda w, s: code_product(w, s, gain=1, words=64),
    "128-words": lambda w, s: halved(code_product(w, s, group=8, words=128)),
    "256-words": lambda w, s: code_product(w, s, gain=1, group=3, words=256),
    "few-outputs": lambda w, s: code_product(w, s, group=3),
    "2-bit": lambda w, s: code_scalar(w, s, 2),
    "3-bit": lambda w, s: code_scalar(w, s, 3),
    "4-bit": lambda w, s: code_scalar(w, s, 4),
    "8-bit": lambda w, s: code_scalar(w, s, 8),
    "ternary": code_ternary,
    "composite": code_composite,
    "factored": lambda w, s: code_composite(w, s, factored=True),
    "binary": code_binary,
    "binary-pixel": lambda w, s: code_binary(w, s, 3, "pixel"),
    "binary-image": lambda w, s: code_binary(w, s, 4, "image"),
}


def code(name: str, shape: WeightShape) -> CodedWeight:
    weight = np.random.default_rng(1).standard_normal((shape.outputs, shape.taps, shape.inputs))
    weight = weight.astype(np.float32) / np.sqrt(shape.taps * shape.inputs)
    return CODERS[name](weight, shape)


def halved(coded: CodedWeight) -> CodedWeight:
    """Words of 8 whose positive and negative entries sum to at most 126."""
    inputs = {**coded.inputs, "codebook": (coded.inputs["codebook"] // 2).astype(np.int8)}
    return replace(coded, inputs=inputs)


def near_zero(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return random_codes(shape, ZERO - 1, ZERO + 1, seed)


def conv(name: str, window: str = "3x3", form: str = "", groups: int = 1, batch: int = 2) -> Node:
    outputs = 12 * groups if name == "few-outputs" else 64 * groups
    taps = int(np.prod(WINDOWS[window]["kernel_shape"]))
    coded = code(name, WeightShape(outputs, taps, 9, groups))
    attributes = {**WINDOWS[window], "group": groups}
    feeds = {"x": near_zero((batch, 8, 7, 9 * groups))}
    node = layer(coded, "Conv", form, feeds, attributes, Q, shift=0)
    if form == "Add":
        size = conv(name, window, groups=groups, batch=batch).run(native=False).shape
        node.feeds["r"] = random_codes(size, 0, 255, 3)
    return node
