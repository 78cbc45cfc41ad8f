"""Linear layers of a million weights, which stay codes in memory."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native.nodes.coded_layers import near_zero
from tests.native.nodes.long_layers import CODERS, INPUTS, linear
from tests.native.nodes.operators import assert_close, open_model, random_codes

SCALAR = ("2-bit", "3-bit", "4-bit")


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize("rows", [1, 11])
def test_linear(name: str, rows: int) -> None:
    node = linear(name, rows)
    expected = node.run(native=False)
    assert len(np.unique(expected)) > 30
    assert_close(node.run(native=True), expected)


@pytest.mark.parametrize("name", CODERS)
def test_float_outputs(name: str) -> None:
    node = linear(name, 2, "Dequant")
    # The file rounds gain * word to whole weights, the kernel does not.
    atol = 0.05 if "gain" in name else 1e-4
    np.testing.assert_allclose(node.run(native=True), node.run(native=False), atol=atol)


@pytest.mark.parametrize("name", SCALAR)
def test_scalar_weights_are_exact_for_any_x(name: str) -> None:
    """Multiplied, not looked up: no table is rounded, whatever its shift."""
    node = linear(name, 3, "Dequant")
    node.feeds["x"] = random_codes((3, INPUTS), 0, 255, 2)
    node.attributes["table_shift"] = 8
    np.testing.assert_allclose(node.run(native=True), node.run(native=False), rtol=2e-5, atol=1e-3)


@pytest.mark.parametrize("name", ["3-bit gain", "4-bit"])
def test_threads_do_not_change_the_result(name: str) -> None:
    node = linear(name, 5)
    np.testing.assert_array_equal(node.run(True, threads=3), node.run(True, threads=1))


def test_rows_may_change() -> None:
    node = linear("2-bit", 1)
    session = open_model(node.model().SerializeToString(), native=True)
    stock = open_model(node.model().SerializeToString(), native=False)
    for rows in (9, 0, 1):
        x = near_zero((rows, INPUTS), rows)
        actual, expected = (s.run(None, {"x": x})[0] for s in (session, stock))
        assert actual.shape == expected.shape
        if rows:
            assert_close(actual, expected)


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_many_rows_are_not_streamed(rows: int) -> None:
    """Where the file says that there are many, 2-bit weights are looked up: tables round."""
    node = linear("2-bit", rows, "Dequant")
    node.feeds["x"] = random_codes((rows, INPUTS), 0, 255, 2)
    node.attributes["table_shift"] = 8
    model = node.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = rows
    session = open_model(model.SerializeToString(), native=True)
    apart = np.abs(session.run(None, node.feeds)[0] - node.run(native=False)).max()
    assert (apart > 0.1) == (rows > 4)
