"""Streaming moments against the formulas on all rows at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.calibration.estimates.shrinkage import FOLDS
from subbyte.compression.calibration.moments import (
    CONV_DAMPING,
    LINEAR_DAMPING,
    MOST_DAMPING,
    WIDE,
    Moments,
    damping_of,
)
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer
from subbyte.graph.weight_layout import to_onnx_layout
from tests.compression.nets import CPU, matmul, normal, one_layer, weight_of

ROWS = 300

MANY = 10**6


def conv_layer(groups: int = 1) -> Layer:
    """Outputs 6, 2 channels a group, 2 x 2 taps: n = 8."""
    weight = normal(0, 6, 2, 2, 2)
    return one_layer("Conv", weight, 2, 2 * groups, group=groups).layers[0]


def linear_layer() -> Layer:
    return matmul(normal(0, 8, 6), 2, left=False).layers[0]


def transposed_layer(groups: int = 1, stride: int = 2) -> Layer:
    weight = normal(0, 4 * groups, 3, 2, 2)
    network = one_layer("ConvTranspose", weight, 2, 4 * groups, group=groups, strides=[stride] * 2)
    return network.layers[0]


def rows_of(layer: Layer, seed: int, mean: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated rows x^ [R, groups, n] with a mean, and unrelated-in-part targets [R, O]."""
    width = layer.shape.inputs * layer.shape.taps
    groups = layer.shape.groups
    mix = normal(seed, groups, width, width) / width**0.5
    rows = np.einsum("rgi,gji->rgj", normal(seed + 1, ROWS, groups, width), mix) + mean
    x = torch.from_numpy(rows.astype(np.float32))
    weight = weight_of(layer).reshape(groups, -1, width)
    t = torch.einsum("rgi,goi->rgo", x, weight).flatten(1)
    return x, t + 0.3 * torch.from_numpy(normal(seed + 2, *t.shape)) + 1.0


def direct(
    layer: Layer, x: torch.Tensor, t: torch.Tensor, damping: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """H and W* by the definition, float64, one group after the other."""
    groups, width = x.shape[1:]
    weight = weight_of(layer).double().reshape(groups, -1, width)
    t = t.double().reshape(len(t), groups, -1)
    moments, targets = [], []
    for g in range(groups):
        xc = x[:, g].double() - x[:, g].double().mean(0)
        tc = t[:, g] - t[:, g].mean(0)
        cov = xc.T @ xc / len(x)
        level = damping * cov.diagonal().mean()
        # The damped least squares as one stacked, ordinary least squares problem.
        rows = torch.cat([xc / len(x) ** 0.5, level.sqrt() * torch.eye(width).double()])
        wanted = torch.cat([tc / len(x) ** 0.5, level.sqrt() * weight[g].T])
        targets.append(torch.linalg.lstsq(rows, wanted).solution.T)
        moments.append(cov + level * torch.eye(width).double())
    return torch.stack(moments), torch.cat(targets).reshape(weight_of(layer).shape)


def summed(layer: Layer, x: torch.Tensor, t: torch.Tensor, sizes: list[int]) -> Moments:
    moments = Moments(layer, CPU, damping_of(layer, MANY))
    for rows, targets in zip(x.split(sizes), t.split(sizes), strict=True):
        moments.add(rows, targets)
    return moments


@pytest.mark.parametrize(
    ("layer", "damping"),
    [
        (conv_layer(), CONV_DAMPING),
        (conv_layer(groups=3), CONV_DAMPING),
        (linear_layer(), LINEAR_DAMPING),
    ],
    ids=["conv", "grouped", "linear"],
)
def test_target_is_the_least_squares_solution(layer: Layer, damping: float) -> None:
    x, t = rows_of(layer, 3)
    found = summed(layer, x, t, [ROWS]).target(weight_of(layer))
    moments, target = direct(layer, x, t, damping)
    torch.testing.assert_close(found.moments.double(), moments, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.weight.double(), target, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("layer", [conv_layer(groups=3), linear_layer()], ids=["conv", "linear"])
def test_about_zero_the_target_fits_the_responses_themselves(layer: Layer) -> None:
    """Least squares of t - b on x^, no mean taken off, but for a damping next to none."""
    x, t = rows_of(layer, 3)
    bias = torch.from_numpy(normal(7, layer.shape.outputs))
    moments = Moments(layer, CPU, 1e-6)
    for rows, targets in zip(x.split([100, 200]), t.split([100, 200]), strict=True):
        moments.add(rows, targets)
    found = moments.target(weight_of(layer), bias)
    wanted = (t - bias).reshape(ROWS, layer.shape.groups, -1)
    rows = [torch.linalg.lstsq(x[:, g], wanted[:, g]).solution.T for g in range(x.shape[1])]
    got = found.weight.reshape(layer.shape.groups, -1, x.shape[2])
    torch.testing.assert_close(got, torch.stack(rows), atol=2e-3, rtol=2e-3)
    about_zero = torch.einsum("rgi,rgj->gij", x, x) / ROWS
    torch.testing.assert_close(found.moments, about_zero, atol=1e-3, rtol=1e-3)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, ROWS - 1), max_size=5, unique=True))
def test_any_chunking_gives_the_same(cuts: list[int]) -> None:
    layer = conv_layer(groups=3)
    x, t = rows_of(layer, 3)
    edges = [0, *sorted(cuts), ROWS]
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    whole, parts = summed(layer, x, t, [ROWS]), summed(layer, x, t, sizes)
    weight = weight_of(layer)
    for name in ("weight", "moments"):
        one, other = getattr(whole.target(weight), name), getattr(parts.target(weight), name)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    bias = torch.zeros(6)
    torch.testing.assert_close(
        whole.bias(weight, weight, bias), parts.bias(weight, weight, bias), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("layer", [conv_layer(3), linear_layer()], ids=["conv", "linear"])
def test_nothing_to_correct_gives_the_weight_back(layer: Layer) -> None:
    x, _ = rows_of(layer, 3)
    weight = weight_of(layer)
    groups = layer.shape.groups
    t = torch.einsum("rgi,goi->rgo", x, weight.reshape(groups, -1, x.shape[2])).flatten(1) + 2
    moments = summed(layer, x, t, [100, 200])
    torch.testing.assert_close(moments.target(weight).weight, weight, atol=1e-3, rtol=1e-3)
    bias = moments.bias(weight, weight, torch.zeros(layer.shape.outputs))
    torch.testing.assert_close(bias, torch.full_like(bias, 2), atol=1e-3, rtol=1e-3)


def test_lost_input_is_made_good() -> None:
    """The compressed network's input is half of the float one's: W* is twice W."""
    layer = conv_layer()
    x, _ = rows_of(layer, 3)
    weight = weight_of(layer)
    t = torch.einsum("rgi,oi->ro", x, weight.flatten(1))
    found = summed(layer, x / 2, t, [ROWS]).target(weight).weight
    got = torch.einsum("rgi,oi->ro", x / 2, found.flatten(1))
    # Damping holds it back a little; with W itself a quarter of the variance is lost.
    assert ((got - t).var(0).sum() / t.var(0).sum()).item() < 0.005


@pytest.mark.parametrize("groups", [1, 3])
def test_bias_makes_up_for_the_means(groups: int) -> None:
    layer = conv_layer(groups)
    x, t = rows_of(layer, 3)
    moments = summed(layer, x, t, [ROWS])
    coded = torch.round(weight_of(layer) * 2) / 2
    bias = moments.bias(weight_of(layer), coded, torch.zeros(6))
    got = torch.einsum("rgi,goi->rgo", x, coded.reshape(groups, -1, 8)).flatten(1) + bias
    torch.testing.assert_close(got.mean(0), t.mean(0), atol=1e-4, rtol=1e-4)


def test_large_means_do_not_drown_the_covariance() -> None:
    """Inputs far from zero (raw pixels, temperatures): their spread is what counts."""
    layer = conv_layer()
    x, t = rows_of(layer, 3, mean=300.0)
    found = summed(layer, x, t, [100, 100, 100]).target(weight_of(layer))
    moments, target = direct(layer, x, t, CONV_DAMPING)
    torch.testing.assert_close(found.moments.double(), moments, atol=0.01, rtol=0.02)
    torch.testing.assert_close(found.weight.double(), target, atol=0.05, rtol=0.05)


def test_wide_layers_are_not_judged() -> None:
    """A decomposition of their moments would take minutes."""
    network = one_layer("Conv", normal(0, 2, WIDE + 1, 1, 1), 2, WIDE + 1)
    layer = network.layers[0]
    x, t = (torch.from_numpy(normal(i, 10, *shape)) for i, shape in ((1, (1, WIDE + 1)), (2, (2,))))
    folded, whole = (Moments(layer, CPU, 0.1, folded=each) for each in (True, False))
    folded.add(x, t, torch.arange(10) % FOLDS)
    whole.add(x, t)
    found, wanted = (each.target(weight_of(layer)) for each in (folded, whole))
    torch.testing.assert_close(found.weight, wanted.weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.moments, wanted.moments, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_target(groups: int) -> None:
    """Tap by tap W*[o, t] = (W[o, t] G + l W[o, t]) H^-1, G = Cov(x, x^)."""
    layer = transposed_layer(groups)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((ROWS, groups, 4)).astype(np.float32)) + 0.3
    lossy = x + 0.3 * torch.from_numpy(normal(5, ROWS, groups, 4))
    moments = Moments(layer, CPU, damping_of(layer, MANY))
    moments.add(lossy, x.flatten(1))
    weight = weight_of(layer)
    found = moments.target(weight)
    assert found.moments.shape == (groups, 16, 16)
    per_group = layer.shape.outputs // groups
    for g in range(groups):
        both = torch.cat([lossy[:, g], x[:, g]], 1).double()
        cov = torch.from_numpy(np.cov(both.numpy().T, bias=True))
        level = CONV_DAMPING * cov[:4, :4].diagonal().mean()
        h = cov[:4, :4] + level * torch.eye(4).double()
        for o in range(g * per_group, (g + 1) * per_group):
            for tap in range(4):
                w = weight[o, tap].double()
                wanted = torch.linalg.solve(h, cov[:4, 4:] @ w + level * w)
                torch.testing.assert_close(
                    found.weight[o, tap].double(), wanted, atol=1e-3, rtol=1e-3
                )
                at = slice(4 * tap, 4 * tap + 4)
                torch.testing.assert_close(
                    found.moments[g, at, at].double(), h, atol=1e-4, rtol=1e-4
                )


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_bias_is_exact_where_taps_tile_the_output(groups: int) -> None:
    weight = normal(0, 4 * groups, 3, 2, 2)
    network = one_layer("ConvTranspose", weight, 2, 4 * groups, group=groups, strides=[2, 2])
    layer, module = network.layers[0], GraphModule(network).eval()
    x = torch.from_numpy(normal(1, 5, 4 * groups, 3, 3)) + 0.5
    lossy = 0.7 * x + 0.1
    pixels = [v.flatten(2).transpose(1, 2).flatten(0, 1) for v in (lossy, x)]
    moments = Moments(layer, CPU, damping_of(layer, MANY))
    moments.add(pixels[0].unflatten(1, (groups, 4)), pixels[1])
    coded = torch.round(weight_of(layer))
    assert layer.bias is not None
    with torch.no_grad():
        wanted = module(x).mean((0, 2, 3))
        bias = moments.bias(weight_of(layer), coded, module.constant(layer.bias))
        module.set_constant(layer.weight, to_onnx_layout(layer, coded))
        module.set_bias(layer.name, bias)
        got = module(lossy).mean((0, 2, 3))
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [2, 0, 0, 1]])
def test_transposed_bias_counts_the_rim_and_the_crop(size: int, pads: list[int]) -> None:
    """Of maps that are the same everywhere, means of outputs hang on which taps reach where."""
    window = {"strides": [2, 1], "dilations": [1, 2], "pads": pads}
    network = one_layer("ConvTranspose", normal(0, 4, 3, 3, 3), 2, 4, size=size, **window)
    layer, module = network.layers[0], GraphModule(network).eval()
    x = torch.from_numpy(normal(1, 5, 4, 1, 1)).expand(5, 4, size, size) + 0.5
    rows = x.flatten(2).transpose(1, 2).flatten(0, 1)
    moments = Moments(layer, CPU, damping_of(layer, MANY))
    moments.add(rows[:, None], rows)
    coded = torch.round(weight_of(layer))
    assert layer.bias is not None
    with torch.no_grad():
        wanted = module(x).mean((0, 2, 3))
        bias = moments.bias(weight_of(layer), coded, module.constant(layer.bias))
        module.set_constant(layer.weight, to_onnx_layout(layer, coded))
        module.set_bias(layer.name, bias)
        got = module(x).mean((0, 2, 3))
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def dealt(layer: Layer, x: torch.Tensor, t: torch.Tensor) -> Moments:
    """The rows in two chunks, ten rows a sample."""
    moments = Moments(layer, CPU, damping_of(layer, MANY), folded=True)
    owners = torch.arange(ROWS) // 10 % FOLDS
    for part in (slice(0, 100), slice(100, ROWS)):
        moments.add(x[part], t[part], owners[part])
    return moments


@pytest.mark.parametrize(
    "layer", [conv_layer(), conv_layer(groups=3), linear_layer()], ids=["conv", "grouped", "linear"]
)
def test_folded_moments_and_bias(layer: Layer) -> None:
    """Of enough rows, both targets are near each other; biases are the same."""
    x, t = rows_of(layer, 3)
    weight, bias = weight_of(layer), torch.zeros(layer.shape.outputs)
    whole, folded = summed(layer, x, t, [ROWS]), dealt(layer, x, t)
    torch.testing.assert_close(
        folded.bias(weight, weight, bias), whole.bias(weight, weight, bias), atol=1e-4, rtol=1e-4
    )
    wanted, found = whole.target(weight), folded.target(weight)
    assert relative_to(found.weight, wanted.weight) < 0.02
    assert relative_to(found.moments, wanted.moments) < 0.05
    torch.linalg.cholesky(found.moments)


@pytest.mark.parametrize("groups", [1, 2])
def test_folded_moments_of_a_transposed_convolution(groups: int) -> None:
    layer = transposed_layer(groups)
    x = torch.from_numpy(normal(4, ROWS, groups, 4)) + 0.3
    lossy = 0.8 * x
    found = dealt(layer, lossy, x.flatten(1)).target(weight_of(layer))
    assert found.moments.shape == (groups, 16, 16)
    torch.testing.assert_close(found.weight, weight_of(layer) / 0.8, atol=1e-2, rtol=1e-2)


def relative_to(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).square().sum() / wanted.square().sum())


def test_rows_of_one_fold_have_the_damped_moments() -> None:
    """As where it is not known which sample a row is of."""
    layer = conv_layer()
    x, t = rows_of(layer, 3)
    folded = Moments(layer, CPU, damping_of(layer, MANY), folded=True)
    folded.add(x, t)
    wanted = summed(layer, x, t, [ROWS]).target(weight_of(layer))
    torch.testing.assert_close(folded.target(weight_of(layer)).moments, wanted.moments)


def test_fewer_samples_are_trusted_less() -> None:
    layer = conv_layer()
    found = [damping_of(layer, samples) for samples in (16, 64, 250, 1000, 10**6)]
    assert found == sorted(found, reverse=True)
    assert found[0] == MOST_DAMPING
    assert found[-1] == CONV_DAMPING
    assert damping_of(linear_layer(), 10**6) == LINEAR_DAMPING
