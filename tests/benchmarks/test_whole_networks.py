"""Random codes look like a trained layer's weights."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import whole_networks
from benchmarks.whole_networks import FORMATS, random_weight
from subbyte.methods import METHODS, WeightShape

SHAPE = WeightShape(32, 9, 64)


@pytest.mark.parametrize("label", FORMATS)
def test_random_codes_have_the_variance_of_a_trained_layer(label: str) -> None:
    coded = random_weight(SHAPE, FORMATS[label])
    assert coded.method == "product"
    scale = METHODS["product"].scale(coded)
    weight = METHODS["product"].decode(coded) * scale[:, None, None]
    assert np.std(weight) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.15)


def test_layers_of_few_inputs_have_eight_bits() -> None:
    assert random_weight(WeightShape(8, 9, 1, 8), FORMATS["d=4"]).method == "scalar"
    assert random_weight(SHAPE, None).method == "scalar"


def test_the_record_of_all_is_not_replaced_by_some(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["whole_networks", "--networks", "ResNet-18"])
    monkeypatch.delattr(whole_networks, "measure")
    with pytest.raises(SystemExit, match="2"):
        whole_networks.main()
    assert "--output" in capsys.readouterr().err
