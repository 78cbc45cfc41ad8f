"""Layers of every case of `tests.methods.cases`: the file's function, and the native kernels."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from subbyte.errors import OptionError
from subbyte.methods import METHODS, CodedWeight, LayerTraits, WeightShape, decode_weight
from subbyte.methods.binarization import binarize_fields
from tests.methods.cases import CASES, Case
from tests.native.nodes.operators import Node, assert_close, layer, random_codes

ZERO = 128
Q = {"x": (0.5, ZERO), "y": (0.04, 100)}
WINDOW = {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
CONV, LINEAR = WeightShape(64, 9, 9), WeightShape(64, 1, 19)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@functools.cache
def conv(case: Case) -> Node:
    # At most a step above the zero point: the positive and the negative entries of a word sum to
    # 126 at most, so that entries of tables are exact at shift 0.
    feeds = {"x": random_codes((2, 8, 7, 9), ZERO, ZERO + 1)}
    return layer(fitting(case, CONV), "Conv", "", feeds, {**WINDOW, "group": 1}, Q, shift=0)


@functools.cache
def linear(case: Case) -> Node:
    feeds = {"x": random_codes((2, 3, 19), ZERO, ZERO + 1)}
    return layer(fitting(case, LINEAR), "Linear", "Dequant", feeds, {}, Q, shift=0)


def fitting(case: Case, shape: WeightShape) -> CodedWeight:
    """A coded weight of the shape; the test is skipped where the layer cannot have the options."""
    traits = LayerTraits(shape, torch.empty, linear=shape.taps == 1, binarizes=True)
    try:
        METHODS[case.method].check(traits, case.options)
    except OptionError as error:
        pytest.skip(str(error))
    return case.code(shape)


def rounds_gains(case: Case) -> bool:
    """Whether a kernel multiplies inner products with gains; a file has every weight rounded."""
    return METHODS[case.method].kernel(case.options).gain


@every_case
def test_a_function_multiplies_with_the_decoded_weight(case: Case) -> None:
    node = linear(case)
    weight = decode_weight(case.code(LINEAR))[:, 0]
    x = torch.from_numpy(node.feeds["x"].astype(np.float32) - ZERO) * Q["x"][0]
    if case.options.binarization is not None:
        x = binarize_fields(x[..., None, :], case.options.binarization)[..., 0, :]
    wanted = x.numpy() @ weight.T + node.constants["bias"]
    np.testing.assert_allclose(node.run(native=False), wanted, atol=2e-4)


@every_case
def test_native_convolution(case: Case) -> None:
    node = conv(case)
    actual, expected = node.run(native=True), node.run(native=False)
    assert len(np.unique(expected)) > 30
    if rounds_gains(case):
        assert np.abs(actual.astype(float) - expected).mean() < 0.03 * expected.std()
    else:
        assert_close(actual, expected)


@every_case
def test_native_linear(case: Case) -> None:
    node = linear(case)
    actual, expected = node.run(native=True), node.run(native=False)
    if rounds_gains(case):
        assert np.abs(actual - expected).mean() < 0.03 * expected.std()
    else:
        np.testing.assert_allclose(actual, expected, atol=2e-5)
