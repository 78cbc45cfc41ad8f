"""What the candidates of layers are priced at."""

from __future__ import annotations

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.planning.search_space import price
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from tests import tiny
from tests.compression.nets import normal, samples_for

MODEL = tiny.classifier(tiny.conv_weights(width=32))
IMAGES = normal(0, 24, 3, 6, 6)


def harms(**sensitivities: float) -> dict[str, list[float]]:
    """Of all candidates of every layer, with these sensitivities; all others are 1."""
    network = prepare(MODEL, "net")
    found = {layer.weight: sensitivities.get(layer.weight, 1.0) for layer in network.layers}
    run = Run(network, samples_for(MODEL, IMAGES), CompressOptions(bits=3.0))
    choices = price(run, sensitivities=found).choices
    return {weight: [c.harm for c in candidates] for weight, candidates in choices.items()}


def test_harm_counts_by_the_fourth_root_of_the_sensitivity() -> None:
    plain = harms()
    weight = next(iter(plain))
    counted = harms(**{weight: 1 / 16})
    assert max(plain[weight]) > 0
    assert counted[weight] == pytest.approx([harm / 2 for harm in plain[weight]])
    assert {w: h for w, h in counted.items() if w != weight} == {
        w: h for w, h in plain.items() if w != weight
    }
