"""Linear layers of a million weights, which stay codes in memory."""

from __future__ import annotations

import functools

import numpy as np

from subbyte.methods import CodedWeight, WeightShape
from tests.graph.coding import code_product, code_scalar
from tests.native.nodes.coded_layers import Q, halved, near_zero
from tests.native.nodes.operators import Node, layer

# Above 2^20 weights; neither number is a multiple of a tile's.
OUTPUTS, INPUTS = 1090, 1003
CODERS = {
    "product": lambda w, s: halved(code_product(w, s, group=8)),
    "3-bit gain": lambda w, s: code_product(w, s, gain=3),
    "4-bit gain": lambda w, s: code_product(w, s, gain=4),
    "shared": lambda w, s: code_product(w, s, group=2, shared=True),
    "2-bit": lambda w, s: code_scalar(w, s, 2),
    "3-bit": lambda w, s: code_scalar(w, s, 3),
    "4-bit": lambda w, s: code_scalar(w, s, 4),
    "5-bit": lambda w, s: code_scalar(w, s, 5),
}


@functools.cache
def code(name: str) -> CodedWeight:
    shape = WeightShape(OUTPUTS, 1, INPUTS)
    weight = np.random.default_rng(1).standard_normal((OUTPUTS, 1, INPUTS))
    return CODERS[name](weight.astype(np.float32) / np.sqrt(INPUTS), shape)


def linear(name: str, rows: int, form: str = "") -> Node:
    return layer(code(name), "Linear", form, {"x": near_zero((rows, INPUTS))}, {}, Q, shift=0)
