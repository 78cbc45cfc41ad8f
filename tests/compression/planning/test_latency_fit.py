"""Predicted times, put right by what is measured; that is pretended."""

from __future__ import annotations

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.model import latency_model
from subbyte.compression.planning import latency_fit
from subbyte.compression.planning.search_space import price
from subbyte.compression.run import Run
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.product.form import ProductOptions
from tests.compression.pretended import BESIDE, MODEL, SAMPLES, Pretended, timings


def test_every_form_is_measured_in_the_network() -> None:
    machine = Pretended(apart=1.1, groups={4: 1.2, 8: 0.8})
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(Run(network, SAMPLES, options))
    model = latency_model(Run(network, SAMPLES), timings(), machine.least_work)
    found = latency_fit.fitted_model(Run(network, SAMPLES, options), model, prices, machine)
    assert found.ratios["look-up 4 gain"] == pytest.approx(1.1 * 1.2)
    assert found.ratios["look-up 6 gain"] == pytest.approx(1.1)
    assert found.ratios["look-up 8 gain"] == pytest.approx(1.1 * 0.8)
    assert "int8" not in found.ratios
    assert found.beside == pytest.approx(BESIDE)
    coded = ProductOptions(8, gain=2)
    assert found.seconds("conv2.weight", coded) == pytest.approx(
        1.1 * 0.8 * model.seconds("conv2.weight", coded)
    )
    assert found.seconds("conv2.weight", EIGHT_BITS) == model.seconds("conv2.weight", EIGHT_BITS)


def test_a_form_that_is_measured_beyond_belief_is_not_believed() -> None:
    machine = Pretended(groups={4: 90.0, 8: 0.01})
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(Run(network, SAMPLES, options))
    model = latency_model(Run(network, SAMPLES), timings(), machine.least_work)
    ratios = latency_fit.fitted_model(Run(network, SAMPLES, options), model, prices, machine).ratios
    assert (ratios["look-up 4 gain"], ratios["look-up 8 gain"]) == (2.0, 0.5)


def test_a_form_that_is_predicted_to_take_no_time_has_no_ratio() -> None:
    machine = Pretended()
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(Run(network, SAMPLES, options))
    model = latency_model(Run(network, SAMPLES), timings(lookups=0.0), machine.least_work)
    found = latency_fit.fitted_model(Run(network, SAMPLES, options), model, prices, machine)
    assert found.ratios == {}
