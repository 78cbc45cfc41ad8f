"""What the candidates of layers are priced at."""

from __future__ import annotations

from typing import Any

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.planning import search_space as prices
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from tests import tiny
from tests.compression.nets import normal, samples_for

MODEL = tiny.classifier(tiny.conv_weights(width=32))
IMAGES = normal(0, 24, 3, 6, 6)


def harms(monkeypatch: pytest.MonkeyPatch, **gains: float) -> dict[str, list[float]]:
    """Of all candidates of every layer, with these gains; all others are 1."""
    network = prepare(MODEL, "net")
    found = {layer.weight: gains.get(layer.weight, 1.0) for layer in network.layers}

    def sensitivities_of(*_: Any) -> dict[str, float]:
        return found

    monkeypatch.setattr(prices, "sensitivities_of", sensitivities_of)
    samples = samples_for(MODEL, IMAGES)
    choices = prices.price(Run(network, samples, CompressOptions(bits=3.0))).choices
    return {weight: [c.harm for c in candidates] for weight, candidates in choices.items()}


def test_harm_counts_by_the_fourth_root_of_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = harms(monkeypatch)
    weight = next(iter(plain))
    counted = harms(monkeypatch, **{weight: 1 / 16})
    assert max(plain[weight]) > 0
    assert counted[weight] == pytest.approx([harm / 2 for harm in plain[weight]])
    assert {w: h for w, h in counted.items() if w != weight} == {
        w: h for w, h in plain.items() if w != weight
    }
