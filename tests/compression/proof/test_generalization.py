"""Divergence on the samples a network was made from, beside the divergence on others."""

from __future__ import annotations

from pathlib import Path

import pytest

from subbyte.compression.proof.generalization import Gap, generalization
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from tests import tiny
from tests.compression.nets import encode, plan_of, samples_for, smooth_images

COARSE = ProductOptions(4, 16, 1)


def test_twice_the_samples_halve_the_excess_over_the_limit() -> None:
    """The limit of 0.1 and 0.5 is 0.3."""
    assert Gap(0.1, 0.5).with_twice_the_samples == pytest.approx(0.4)
    assert Gap(0.5, 0.1).with_twice_the_samples == 0.1


def test_a_network_fitted_to_few_samples_is_farther_off_on_others(tmp_path: Path) -> None:
    model = tiny.classifier()
    data = smooth_images(16, size=tiny.SIZE)
    _, encoded, _ = encode(model, data, plan_of(model, COARSE), tmp_path)
    network = prepare(model, "net")
    held = samples_for(model, smooth_images(40, size=tiny.SIZE, seed=2))
    found = generalization(Run(network, samples_for(model, data)), encoded, held)
    assert found is not None
    assert found.samples == (16, 32)
    assert list(found.layers) == ["conv1", "conv2", "head"]
    assert 0 < found.network.calibration < found.network.held
    assert all(gap.calibration < gap.held for gap in found.layers.values())
    document = found.document()
    assert document["network"] == {
        "calibration": found.network.calibration,
        "held_back": found.network.held,
    }
    assert [row["name"] for row in document["layers"]] == list(found.layers)


def test_eight_bits_are_as_good_on_others(tmp_path: Path) -> None:
    model = tiny.classifier()
    data = smooth_images(40, size=tiny.SIZE)
    _, encoded, _ = encode(model, data, plan_of(model, ScalarOptions(8)), tmp_path)
    network = prepare(model, "net")
    held = samples_for(model, smooth_images(16, size=tiny.SIZE, seed=2))
    found = generalization(Run(network, samples_for(model, data)), encoded, held)
    assert found is not None
    assert found.network.held < 1e-3
    assert max(gap.held for gap in found.layers.values()) < 1e-3
