"""Rows of patches are what a layer's weight matrix multiplies: y = W x at every position."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.calibration.rows import (
    choose_places,
    entries_at,
    entry_axis,
    input_rows,
    output_rows,
    position_count,
)
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from tests.compression.nets import matmul, normal, one_layer, weight_of

quick = settings(max_examples=25, deadline=None, derandomize=True)


def outputs_of(network: Network, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = GraphModule(network).eval()(x)
    return result


def rows_at_all(network: Network, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[N, positions, groups, n] for every position."""
    layer = network.layers[0]
    count, axis = position_count(layer, x, y), entry_axis(layer, x)
    positions = torch.arange(count).expand(1 if axis is None else x.shape[axis], count)
    return input_rows(layer, x, positions, tuple(y.shape[2:]))


def check_linear(network: Network, x: torch.Tensor) -> None:
    """y - b = W x for every position and group."""
    layer, y = network.layers[0], outputs_of(network, x)
    rows = rows_at_all(network, x, y)
    weight = weight_of(layer).reshape(layer.shape.groups, -1, rows.shape[3])
    got = torch.einsum("nsgi,goi->nsgo", rows, weight).flatten(2)
    if layer.bias is not None:
        got = got + GraphModule(network).constant(layer.bias)
    wanted = output_rows(layer, y)
    assert got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, atol=2e-4, rtol=1e-4)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[dict[str, Any], int, tuple[int, ...], int]:
    """Attributes, channels, input size, outputs."""
    # Preparation makes 2-D ones of 1-D ones.
    rank = draw(st.integers(2, 3))
    group = draw(st.sampled_from([1, 2, 3]))

    def each(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    attributes = {
        "kernel_shape": each(1, 3),
        "strides": each(1, 3),
        "dilations": each(1, 2),
        "pads": each(0, 2, 2 * rank),
        "group": group,
    }
    channels, outputs = group * draw(st.integers(1, 3)), group * draw(st.integers(1, 3))
    return attributes, channels, tuple(each(5, 7)), outputs


@quick
@given(convolutions())
def test_conv(case: tuple[dict[str, Any], int, tuple[int, ...], int]) -> None:
    attributes, channels, size, outputs = case
    weight = normal(0, outputs, channels // attributes["group"], *attributes["kernel_shape"])
    network = one_layer("Conv", weight, len(size), channels, **attributes)
    check_linear(network, torch.from_numpy(normal(1, 2, channels, *size)))


@pytest.mark.parametrize(
    ("stride", "dilation", "pad"), [(1, 1, 0), (2, 1, 1), (1, 2, 2), (3, 2, 1)]
)
def test_conv_rows_are_unfold(stride: int, dilation: int, pad: int) -> None:
    attributes = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [pad] * 4}
    network = one_layer("Conv", normal(0, 4, 3, 3, 2), 2, 3, **attributes)
    x = torch.from_numpy(normal(1, 2, 3, 7, 8))
    rows = rows_at_all(network, x, outputs_of(network, x))[:, :, 0]
    columns = torch.nn.functional.unfold(x, (3, 2), dilation, pad, stride)
    # unfold has (channel, tap) order, a weight [O, T, I] wants (tap, channel).
    wanted = columns.unflatten(1, (3, 6)).transpose(1, 2).flatten(1, 2).transpose(1, 2)
    assert torch.equal(rows, wanted)


def test_chosen_positions_are_those_of_all() -> None:
    network = one_layer("Conv", normal(0, 4, 3, 3, 3), 2, 3, pads=[1, 0, 2, 1], strides=[2, 1])
    x = torch.from_numpy(normal(1, 2, 3, 6, 5))
    y = outputs_of(network, x)
    everywhere = rows_at_all(network, x, y)
    positions = torch.tensor([[5, 0, 5], [7, 1, 2]])
    some = input_rows(network.layers[0], x, positions, tuple(y.shape[2:]))
    for sample, place in itertools.product(range(2), range(3)):
        assert torch.equal(some[sample, place], everywhere[sample, positions[sample, place]])


@pytest.mark.parametrize(
    ("rank", "left"), [(2, False), (3, False), (4, False), (2, True), (3, True), (4, True)]
)
def test_linear(rank: int, left: bool) -> None:
    network = matmul(normal(0, 5, 7) if left else normal(0, 7, 5), rank, left)
    shape = [2, 3, 4, 6][:rank]
    shape[-2 if left else -1] = 7
    layer = network.layers[0]
    assert (layer.op, layer.shape.inputs, layer.shape.outputs) == ("Linear", 7, 5)
    check_linear(network, torch.from_numpy(normal(1, *shape)))


@st.composite
def transposed(draw: st.DrawFn) -> tuple[dict[str, Any], int, tuple[int, ...], int]:
    """Attributes, channels, input size, outputs a group; kernels as large as their strides."""
    rank, group = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    size = tuple(draw(st.lists(st.integers(2, 4), min_size=rank, max_size=rank)))
    attributes = {"kernel_shape": kernel, "strides": kernel, "group": group}
    return attributes, group * draw(st.integers(1, 3)), size, draw(st.integers(1, 3))


@quick
@given(transposed())
def test_conv_transpose(case: tuple[dict[str, Any], int, tuple[int, ...], int]) -> None:
    """With stride = kernel, output pixel stride * p + tap is tap's weight times pixel p."""
    attributes, channels, size, outputs = case
    kernel = attributes["kernel_shape"]
    weight = normal(0, channels, outputs, *kernel)
    network = one_layer("ConvTranspose", weight, len(size), channels, False, **attributes)
    x = torch.from_numpy(normal(1, 2, channels, *size))
    layer, y = network.layers[0], outputs_of(network, x)
    rows = rows_at_all(network, x, y)
    taps = weight_of(layer).unflatten(0, (layer.shape.groups, -1))
    got = torch.einsum("nsgi,goti->ngost", rows, taps).flatten(1, 2)
    got = got.unflatten(2, size).unflatten(-1, tuple(kernel))
    rank = len(size)
    order = [axis for k in range(rank) for axis in (2 + k, 2 + rank + k)]
    got = got.permute(0, 1, *order).reshape(y.shape)
    torch.testing.assert_close(got, y, atol=1e-4, rtol=1e-4)


def test_a_lone_vector_is_one_row() -> None:
    network = matmul(normal(0, 7, 5), 1, False)
    layer, x = network.layers[0], torch.from_numpy(normal(1, 7))
    assert entry_axis(layer, x) is None
    check_linear(network, x)
    assert entries_at(layer, x, torch.tensor([0])) is x


@pytest.mark.parametrize("wanted", [1, 5, 23, 24, 1000])
@pytest.mark.parametrize(("rank", "left"), [(2, True), (2, False), (3, True), (3, False)])
def test_places_are_as_many_as_wanted(rank: int, left: bool, wanted: int) -> None:
    """Whatever axis samples lie on, and the same rows of inputs and outputs."""
    network = matmul(normal(0, 5, 7) if left else normal(0, 7, 5), rank, left)
    layer = network.layers[0]
    shape = [24, 7] if rank == 2 else [8, 3, 7]
    x = torch.from_numpy(normal(1, *(shape[:-2] + shape[:-3:-1] if left else shape)))
    y = outputs_of(network, x)
    chosen, positions = choose_places(layer, x, y, wanted, torch.Generator().manual_seed(0))
    some, there = entries_at(layer, x, chosen), entries_at(layer, y, chosen)
    rows = input_rows(layer, some, positions, ())[:, :, 0]
    index = positions[:, :, None].expand(-1, -1, 5)
    targets = output_rows(layer, there).gather(1, index)
    assert min(wanted, 24) <= rows.shape[:2].numel() < wanted + 8
    weight = weight_of(layer)[:, 0]
    torch.testing.assert_close(rows @ weight.T, targets, atol=1e-5, rtol=1e-4)
