"""The soft stage draws weights to the grid, the hard stage sets them on it, a file keeps them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import subbyte
from subbyte.compression import CompressOptions
from subbyte.compression.planning.plan_file import (
    Plan,
    parse_plan,
    planned_layers,
    write_plan,
)
from subbyte.errors import OptionError, WeightError
from subbyte.graph.compressed.trainable import read_coded
from subbyte.graph.load.network import load_model, prepare
from subbyte.methods import EIGHT_BITS, MethodChoice, Scalar, decode_weight
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.train import SoftHard
from subbyte.train.grids import LEVELS, Distance, nearest, start_scale
from tests import tiny
from tests.compression.nets import normal, relative, run, smooth_images

every_grid = pytest.mark.parametrize("levels", sorted(LEVELS))


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)),
    )
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
    return net


def data() -> tuple[Tensor, Tensor]:
    # So small that all layers are multiplied: look-ups would round their tables.
    x = torch.from_numpy(smooth_images(64, size=6))
    return x, (x.mean((1, 2, 3)) > 0).long() + 2 * (x[:, 0].mean((1, 2)) > 0).long()


def soft_stage(net: nn.Module, penalty: SoftHard, steps: int, optimizer: Any = None) -> Any:
    x, y = data()
    optimizer = optimizer or torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(x), y) + penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        penalty.step()
    return optimizer


def distinct(weight: Tensor) -> int:
    return len(weight.detach().unique())


# The grids


@every_grid
def test_nearest_level(levels: str) -> None:
    grid = LEVELS[levels]
    values = torch.arange(grid.low, grid.high + 1, grid.step).float()
    weight, scale = torch.from_numpy(normal(0, 50, 7)), torch.tensor([[0.6]])
    (found,) = nearest([weight], [scale], grid)
    wanted = values[(weight[..., None] / 0.6 - values).abs().argmin(-1)]
    torch.testing.assert_close(found, wanted)


@every_grid
def test_scale_is_the_best_one(levels: str) -> None:
    grid = LEVELS[levels]
    weight = torch.from_numpy(normal(1, 40, 300)) * 0.03

    def lost(scale: Tensor) -> float:
        (found,) = nearest([weight], [scale], grid)
        return float((weight - found * scale).square().sum())

    scale = start_scale(weight, (0, 1), grid)
    assert scale.shape == (1, 1)
    best = min(lost(scale * share) for share in torch.linspace(0.5, 2, 301))
    assert lost(scale) <= 1.001 * best
    assert start_scale(weight, (1,), grid).shape == (40, 1)


@every_grid
def test_gradient_of_the_penalty(levels: str) -> None:
    weights = [
        torch.from_numpy(normal(k, *shape)).requires_grad_()
        for k, shape in enumerate([(4, 3), (5, 2, 3, 3)])
    ]
    scales = [torch.full((1,) * w.ndim, 0.4) for w in weights]
    penalty = Distance.apply(3.0, scales, LEVELS[levels], *weights)
    with torch.no_grad():
        found = nearest(weights, scales, LEVELS[levels])
        rests = [w - q * s for w, q, s in zip(weights, found, scales, strict=True)]
    lost = sum(float(rest.square().sum()) for rest in rests)
    assert float(penalty.detach()) == pytest.approx(1.5 * lost)
    (2 * penalty).backward()
    for weight, rest in zip(weights, rests, strict=True):
        torch.testing.assert_close(weight.grad, 6.0 * rest)


# The two stages


def test_strength_ramps_up() -> None:
    net = network()
    for ramp, middle in (("linear", 5.0), ("exponential", 10 * 10**-2.5)):
        penalty = SoftHard(net, steps=4, strength=10, ramp=ramp)  # type: ignore[arg-type]
        found = []
        for _ in range(6):
            found.append(penalty.strength)
            penalty.step()
        assert found == sorted(found)
        assert found[2] == pytest.approx(middle)
        assert found[4:] == [10, 10]
        assert found[0] < 0.01


@every_grid
@pytest.mark.parametrize("scale", ["layer", "output"])
def test_soft_draws_to_the_grid_and_hard_sets_on_it(levels: Any, scale: Any) -> None:
    net = network()
    penalty = SoftHard(net, steps=60, strength=30, levels=levels, scale=scale)
    before = penalty.distance()
    soft_stage(net, penalty, 60)
    assert penalty.distance() < 0.2 * before
    x, _ = data()
    net.eval()
    soft = net(x)
    penalty.harden()
    assert relative(net(x).detach(), soft.detach()) < 0.1
    assert penalty.distance() < 1e-10
    most = 3 if levels == "ternary" else 4
    for weight in (net[0].weight, net[3].weight, net[8].weight):
        parts = [weight] if scale == "layer" else list(weight)
        assert all(distinct(part) <= most for part in parts)
        assert not weight.requires_grad
    assert float(penalty()) == 0


def test_hard_weights_stay_while_the_rest_is_tuned() -> None:
    net = network()
    penalty = SoftHard(net, steps=10, strength=30)
    optimizer = soft_stage(net, penalty, 10)
    penalty.harden()
    held = {n: p.detach().clone() for n, p in net.named_parameters()}
    soft_stage(net, penalty, 3, optimizer)
    tunable = penalty.tunable_parameters()
    assert len(tunable) == 5
    for name, parameter in net.named_parameters():
        changed = not torch.equal(parameter, held[name])
        assert changed == any(parameter is each for each in tunable), name


@every_grid
def test_scales_may_be_tuned_and_baked(levels: Any) -> None:
    net = network()
    names = set(net.state_dict())
    penalty = SoftHard(net, steps=10, levels=levels)
    penalty.harden(train_scales=True)
    before = net[3].weight.detach().clone()
    tunable = penalty.tunable_parameters()
    assert len(tunable) == 8
    soft_stage(net, penalty, 3, torch.optim.Adam(tunable, 0.1))
    ratio = (net[3].weight.detach() / before)[before != 0]
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0])))
    assert abs(float(ratio[0]) - 1) > 0.01
    tuned = net[3].weight.detach().clone()
    penalty.bake()
    assert set(net.state_dict()) == names
    torch.testing.assert_close(net[3].weight.detach(), tuned)
    assert not net[3].weight.requires_grad


def test_skipped_layers_stay_float() -> None:
    net = nn.Sequential(network(), nn.Linear(4, 3))
    penalty = SoftHard(net, steps=5, skip=["0.0", "1"])
    penalty.harden()
    assert distinct(net[0][3].weight) <= 3
    assert distinct(net[0][0].weight) > 100
    assert net[1].weight.requires_grad
    assert penalty.memory()["count"] == 32 * 32 * 9 + 32 * 4
    # A name stands for all below it.
    with pytest.raises(OptionError, match="nothing to quantize"):
        SoftHard(net, steps=5, skip=["0", "1"])


def test_a_shared_weight_counts_once() -> None:
    one, other = nn.Linear(5, 5), nn.Linear(5, 5)
    other.weight = one.weight
    assert SoftHard(nn.Sequential(one, other), steps=1).memory()["count"] == 25


def test_transposed_convolutions_scale_their_outputs() -> None:
    net = nn.ConvTranspose2d(6, 4, 3)
    SoftHard(net, steps=1, scale="output").harden()
    assert all(distinct(net.weight[:, o]) <= 3 for o in range(4))
    assert distinct(net.weight) > 3
    grouped = nn.ConvTranspose2d(6, 4, 3, groups=2)
    with pytest.raises(OptionError, match="transposed convolution with groups"):
        SoftHard(grouped, steps=1, scale="output")
    assert SoftHard(grouped, steps=1).memory()["bytes"] == 6 * 2 * 9 / 4 + 2 * 4


def test_memory_is_a_sixteenth() -> None:
    found = SoftHard(network(), steps=1).memory()
    assert found["reduction"] == 0.9375
    assert found["bytes"] / found["float_bytes"] == pytest.approx(1 / 16, rel=0.06)


@pytest.mark.parametrize("at", [7, 20, 26])
def test_interrupted_and_resumed_is_uninterrupted(at: int) -> None:
    """In the soft stage, between the two, and while tuning."""

    def stages(net: nn.Module, penalty: SoftHard, optimizer: Any, first: int, last: int) -> None:
        for step in range(first, last):
            if step == 20:
                penalty.harden()
            soft_stage(net, penalty, 1, optimizer)

    def parts() -> tuple[nn.Module, SoftHard, Any]:
        net = network()
        return net, SoftHard(net, steps=20), torch.optim.SGD(net.parameters(), 0.01)

    whole = parts()
    stages(*whole, 0, 30)
    first = parts()
    stages(*first, 0, at)
    saved = [copy.deepcopy(part.state_dict()) for part in first]
    net, penalty, optimizer = parts()
    penalty.load_state_dict(saved[1])
    net.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[2])
    stages(net, penalty, optimizer, at, 30)
    wanted = whole[0].state_dict()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=0)


def test_state_after_hardening_restores_parametrizations() -> None:
    net = network()
    penalty = SoftHard(net, steps=1)
    penalty.harden(train_scales=True)
    fresh = network(seed=1)
    again = SoftHard(fresh, steps=1)
    again.load_state_dict(penalty.state_dict())
    fresh.load_state_dict(net.state_dict())
    torch.testing.assert_close(fresh[3].weight, net[3].weight)
    assert again.hard
    assert len(again.tunable_parameters()) == 8


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": "binary"}, "unknown levels"),
        ({"ramp": "cosine"}, "unknown ramp"),
        ({"scale": "tensor"}, "unknown scale"),
        ({"steps": 0}, "steps out of range"),
        ({"refit": 0}, "refit out of range"),
        ({"strength": 0.0}, "strength out of range"),
        ({"strength": float("nan")}, "strength out of range"),
        ({"skip": ["nowhere"]}, "skip: no such module"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SoftHard(network(), **{"steps": 5, **options})


@pytest.mark.parametrize(("value", "message"), [(0.0, "all zero|zero"), (float("nan"), "finite")])
def test_bad_weights(value: float, message: str) -> None:
    net = network()
    nn.init.constant_(net[3].weight, value)
    with pytest.raises(WeightError, match=message):
        SoftHard(net, steps=5)


def test_hard_only_once_and_state_of_another_model() -> None:
    penalty = SoftHard(network(), steps=5)
    penalty.harden()
    with pytest.raises(OptionError, match="on their grid already"):
        penalty.harden()
    with pytest.raises(OptionError, match="state of another model"):
        SoftHard(nn.Linear(3, 3), steps=5).load_state_dict(penalty.state_dict())


# The file


@every_grid
@pytest.mark.parametrize("scale", ["layer", "output"])
def test_a_file_holds_the_hard_weights(levels: Any, scale: Any, tmp_path: Path) -> None:
    """Folded with their normalizations, whose factors may be negative."""
    net = network()
    penalty = SoftHard(net, steps=20, levels=levels, scale=scale, skip=["0"])
    soft_stage(net, penalty, 20)
    penalty.harden()
    x, _ = data()
    found = subbyte.compress(
        net.eval(),
        tmp_path / "a.onnx",
        x.numpy(),
        method=Scalar(exact=True),
        example_inputs=x[:2],
    )
    assert [options.bits for options in found.plan.values()] == [8, 2, 2]
    conv, norm, linear = net[3], net[4], net[8]
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = (conv.weight * factor[:, None, None, None]).detach()
    wanted = [folded.flatten(2).transpose(1, 2), linear.weight[:, None]]
    assert bool((factor < 0).any())
    stored = read_coded(load_model(tmp_path / "a.onnx"), "a").weights
    for place, weight in zip(stored[1:], wanted, strict=True):
        exact = weight.detach().numpy()
        # float16 next to a float32 base: 2**-11 of each scale.
        np.testing.assert_allclose(decode_weight(place.coded), exact, rtol=2**-10, atol=1e-6)
    rows = subbyte.inspect(tmp_path / "a.onnx").layers
    codes = 8 * (rows[1]["bytes"] - 2 * 32 - 4) / (32 * 32 * 9)
    assert 1 - codes / 32 == 0.9375
    assert relative(run(tmp_path / "a.onnx", x.numpy()), net(x).detach()) < 2e-3


def test_a_plan_says_exact() -> None:
    layers = planned_layers(prepare(tiny.classifier(), "net"))
    plan: Plan = {layer.weight: EIGHT_BITS for layer in layers}
    plan["conv2.weight"] = ScalarOptions(2, exact=True)
    text = write_plan(plan, layers)
    assert text.count("exact = true") == 1
    assert parse_plan(text, layers, "plan") == plan
    with pytest.raises(OptionError, match="exact is for 2, 3 or 4 bits"):
        parse_plan(text.replace("bits = 2", "bits = 8"), layers, "plan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "product"}, "product: unknown option exact"),
        ({"method": "ternary"}, "ternary: unknown option exact: expected rank, rank_ratio"),
        ({"method": "scalar", "bits": 2.0}, "`bits` and exact exclude each other"),
    ],
)
def test_exact_is_of_scalar_and_without_a_budget(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompressOptions(**options | {"method": MethodChoice(options["method"], {"exact": True})})


def test_a_network_without_grids_is_told_so(tmp_path: Path) -> None:
    x, _ = data()
    with pytest.raises(WeightError, match="no layer's weights lie on a grid"):
        subbyte.compress(
            network(),
            tmp_path / "a.onnx",
            x.numpy(),
            method=Scalar(exact=True),
            example_inputs=x[:2],
        )
    assert not list(tmp_path.iterdir())
