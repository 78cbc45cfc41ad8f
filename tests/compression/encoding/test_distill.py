"""Tuning: lowers the divergence, never makes the held-back samples worse, goes on where it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import subbyte
from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.divergence import divergence
from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.distill import Tuner
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.planning.plan_file import parse_plan
from subbyte.compression.run import Run, Schedule
from subbyte.data import Samples
from subbyte.errors import CalibrationError
from subbyte.graph.load.network import prepare
from subbyte.graph.module.graph_module import GraphModule
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.product.trainable import ProductWeight
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.methods.training import ScaledWeight
from tests import tiny
from tests.compression.nets import (
    CPU,
    ROUGH_PLAN,
    classifier,
    encode,
    samples_for,
    smooth_images,
)

IMAGES = smooth_images(160, size=tiny.SIZE)
MODEL = classifier(IMAGES)
NETWORK = prepare(MODEL, "net")
PLAN = parse_plan(ROUGH_PLAN, list(NETWORK.layers), "plan")

SCHEDULE = Schedule(check_every=5, warm_up=1, move_above=0.2)
MakeTuner = Callable[..., Tuner]


@pytest.fixture
def make(tmp_path: Path) -> MakeTuner:
    """Encode `MODEL` roughly and make a tuner for it; ``spoil``: how far biases are off."""
    made = 0

    def make(
        steps: int,
        spoil: float = 0.2,
        folder: str = "",
        seed: int = 0,
        count: int = len(IMAGES),
        plan: dict[str, Any] | None = None,
        schedule: Schedule = SCHEDULE,
        kind: type[Tuner] = Tuner,
    ) -> Tuner:
        nonlocal made
        made += 1
        images = IMAGES[:count]
        sequence, encoded, network = encode(MODEL, images, plan or PLAN, tmp_path / f"e{made}")
        shift_biases(encoded, spoil)
        checkpoints = Checkpoints(tmp_path / (folder or f"t{made}"), "key", keep=True)
        samples = samples_for(MODEL, images)
        options = CompressOptions(seed=seed)
        run = Run(network, samples, options, checkpoints=checkpoints, schedule=schedule)
        return kind(run, sequence.compressed, encoded, steps)

    return make


def harm_of(encoded: Encoded, samples: Samples) -> float:
    """Divergence of the network that the file will hold."""
    module, teacher = coded_module(NETWORK, encoded, CPU), GraphModule(NETWORK).eval()
    (x,) = next(iter(samples.batches(len(samples)))).values()
    with torch.no_grad():
        wanted, got = teacher(torch.from_numpy(x)), module(torch.from_numpy(x))
    return float(divergence((wanted,), (got,)))


def shift_biases(encoded: Encoded, size: float) -> None:
    for name, value in encoded.biases.items():
        encoded.biases[name] = value + size * torch.from_numpy(
            np.random.default_rng(len(name)).standard_normal(len(value)).astype(np.float32)
        )


def test_held_back_samples_are_not_trained_on(make: MakeTuner) -> None:
    tuner = make(1)
    held, trained = (
        {x.tobytes() for batch in part.batches(1) for x in batch.values()}
        for part in (tuner._held, tuner._train)
    )
    assert len(held) == round(0.15 * 160)
    assert len(held) + len(trained) == 160
    assert not held & trained


def test_it_starts_where_encoding_ended(make: MakeTuner) -> None:
    tuner = make(1)
    assert tuner._harm() == pytest.approx(harm_of(tuner._encoded, tuner._held), rel=1e-3)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_what_is_packed_is_no_worse_than_untuned(seed: int, make: MakeTuner) -> None:
    tuner = make(20, seed=seed)
    before = harm_of(tuner._encoded, tuner._held)
    tuned = tuner.run()
    after = harm_of(tuned, tuner._held)
    assert after < before
    # The packed network is the one that was measured, its scales rounded to halves.
    assert after == pytest.approx(tuner._harm(), rel=1e-3)
    packed = coded_module(NETWORK, tuned, CPU)
    for layer in NETWORK.layers:
        weight, measured = packed.constant(layer.weight), tuner._module.constant(layer.weight)
        assert (weight - measured).abs().max() < 2**-11 * measured.abs().max()


def test_latent_factors_are_trained(make: MakeTuner) -> None:
    tuner = make(20, plan=PLAN | {"conv2.weight": TernaryOptions(8)})
    module = tuner._sources["conv2.weight"].weight
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    harm = tuner._harm()
    assert harm == pytest.approx(harm_of(tuner._encoded, tuner._held), rel=1e-3)
    tuned = tuner.run()
    assert harm_of(tuned, tuner._held) < harm
    assert tuned.weights["conv2.weight"].method == "ternary"
    assert set(before) == {"latent_left", "latent_right", "log_d", "log_scale"}
    assert not any(torch.equal(value, before[name]) for name, value in module.named_parameters())


def test_scales_of_planes_are_trained(make: MakeTuner) -> None:
    tuner = make(20, plan=PLAN | {"conv2.weight": CompositeOptions(planes=2)})
    before = tuner._encoded.weights["conv2.weight"]
    harm = tuner._harm()
    after = tuner.run().weights["conv2.weight"]
    assert tuner._harm() < harm
    assert (after.method, after.variant) == ("composite", before.variant)
    changed = {name for name in before.inputs if (before.inputs[name] != after.inputs[name]).any()}
    assert changed == {"scale"}


def test_divergence_falls_on_all_samples(make: MakeTuner) -> None:
    samples = samples_for(MODEL, IMAGES)
    tuner = make(30)
    before = harm_of(tuner._encoded, samples)
    assert harm_of(tuner.run(), samples) < 0.97 * before


def test_nothing_gained_keeps_the_untuned(make: MakeTuner) -> None:
    """With rates that ruin the network, what was there before is kept."""
    names = {"bias", *ProductWeight.rates, *ScaledWeight.rates}
    ruinous = replace(SCHEDULE, rates=dict.fromkeys(names, 5.0))
    tuner = make(10, spoil=0.0, schedule=ruinous)
    untuned = tuner._encoded
    tuned = tuner.run()
    assert harm_of(tuned, tuner._held) == pytest.approx(harm_of(untuned, tuner._held), rel=1e-3)
    for name, value in untuned.biases.items():
        torch.testing.assert_close(tuned.biases[name], value)


def test_biases_are_trained(make: MakeTuner) -> None:
    tuner = make(300, spoil=0.8)
    before, untuned = harm_of(tuner._encoded, tuner._held), tuner._encoded.biases
    frozen = {
        name: value.detach().clone()
        for source in tuner._sources.values()
        for name, value in source.named_parameters()
    }
    assert frozen
    for parameter in (p for s in tuner._sources.values() for p in s.parameters()):
        parameter.requires_grad_(False)
    tuned = tuner.run()
    assert harm_of(tuned, tuner._held) < 0.8 * before
    assert all(not torch.equal(tuned.biases[name], untuned[name]) for name in untuned)


@pytest.mark.parametrize("part", ["log_scale", "codebook"])
def test_scales_and_codebooks_are_trained(part: str, make: MakeTuner) -> None:
    tuner = make(20)
    found = {
        f"{weight}.{name}": value
        for weight, source in tuner._sources.items()
        for name, value in source.weight.named_parameters()
        if name == part
    }
    before = {name: value.detach().clone() for name, value in found.items()}
    assert len(found) == (3 if part == "log_scale" else 1)
    tuner.run()
    assert all(not torch.equal(value, before[name]) for name, value in found.items())


class LastIsBest(Tuner):
    """The last state is said to be the best, so that it is returned."""

    falling = itertools.count(0, -1)

    def _harm(self) -> float:
        return float(next(self.falling))


@pytest.fixture
def make_moving(make: MakeTuner) -> MakeTuner:
    """Codes move soon, and the last state is returned."""
    return partial(make, schedule=replace(SCHEDULE, rates={"latent": 0.3}), kind=LastIsBest)


def test_codes_move_only_where_the_error_is_large(make_moving: MakeTuner) -> None:
    def codes(encoded: Encoded) -> np.ndarray:
        return np.array(encoded.weights["conv2.weight"].inputs["codes"])

    rough = make_moving(20)
    assert rough._encoded.losses["conv2.weight"] > SCHEDULE.move_above
    assert not np.array_equal(codes(rough._encoded), codes(rough.run()))
    fine = make_moving(20, plan=PLAN | {"conv2.weight": ProductOptions(4, 16, 3)})
    assert fine._encoded.losses["conv2.weight"] < SCHEDULE.move_above
    assert np.array_equal(codes(fine._encoded), codes(fine.run()))


def same(one: Encoded, other: Encoded) -> bool:
    arrays = [
        (one.weights[name].inputs[key], other.weights[name].inputs[key])
        for name in one.weights
        for key in one.weights[name].inputs
    ]
    arrays += [(one.biases[name].numpy(), other.biases[name].numpy()) for name in one.biases]
    return all(np.array_equal(a, b) for a, b in arrays)


def test_same_twice(make: MakeTuner) -> None:
    assert same(make(12).run(), make(12).run())
    assert not same(make(12).run(), make(12, seed=1).run())


@pytest.mark.parametrize("at", [3, 5, 8, 11])
def test_interrupted_in_the_middle(at: int, make_moving: MakeTuner) -> None:
    """At a checkpoint, and between two."""
    whole = make_moving(12).run()
    broken = make_moving(12, folder="shared")

    def stop(stage: str, done: int, total: int, detail: str) -> None:
        if done == at:
            raise KeyboardInterrupt

    broken._progress = stop
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert same(make_moving(12, folder="shared").run(), whole)


@pytest.mark.parametrize("count", [2, 3])
def test_very_few_samples(count: int, make: MakeTuner) -> None:
    tuner = make(2, count=count)
    before = harm_of(tuner._encoded, tuner._held)
    assert harm_of(tuner.run(), tuner._held) <= before * 1.001


def test_one_sample_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"`tune`.*at least 2 samples.*got 1"):
        subbyte.compress(MODEL, tmp_path / "a.onnx", IMAGES[:1], tune=5)
    assert not list(tmp_path.iterdir())


# The measure of harm


def test_divergence_of_scores_is_kullback_leibler() -> None:
    p, q = (torch.randn(7, 5, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    a, b = p.softmax(1), q.softmax(1)
    wanted = (a * (a / b).log()).sum(1).mean()
    torch.testing.assert_close(divergence((p,), (q,)), wanted)
    assert float(divergence((p,), (p,))) == pytest.approx(0, abs=1e-6)


def test_divergence_of_maps_is_relative() -> None:
    wanted = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    got = wanted + 0.1
    expected = 0.01 / wanted.var(correction=0)
    torch.testing.assert_close(divergence((wanted,), (got,)), expected)
    # Scale does not matter, and outputs add up; integers are no measure.
    both = divergence((wanted, 10 * wanted, torch.ones(3).long()), (got, 10 * got, torch.ones(3)))
    torch.testing.assert_close(both, 2 * expected)
