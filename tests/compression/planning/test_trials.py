"""Other plans for a budget, and which of them is kept."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subbyte
from subbyte.budgets import Budget
from subbyte.compression.config import CompressOptions
from subbyte.compression.pipeline import plan_network
from subbyte.compression.planning.by_size import plan_bits
from subbyte.compression.planning.candidates import Candidate
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.search_space import Prices
from subbyte.compression.planning.trials import WithinBytes, best_by_trial, contenders, uniform
from subbyte.compression.validation import Score
from subbyte.errors import OptionError
from subbyte.methods import EIGHT_BITS
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.progress import silent
from tests.compression.nets import classifier, normal, one_layer, samples_for, smooth_images

BUDGET = Budget("bits", 3.2)
FORMS = (ScalarOptions(2), ScalarOptions(3), ScalarOptions(4), EIGHT_BITS)


def prices(*harms: float) -> Prices:
    """Layers of 1,600 weights, of which each step of bits quarters the harm; w0 is first."""
    only = one_layer("Conv", normal(0, 64, 25, 1, 1), 2, 25).layers[0]
    names = [f"w{i}" for i in range(len(harms))]
    layers = [replace(only, weight=name) for name in names]
    found = {
        name: [Candidate(f, 200 * f.bits, harm * 4.0**-f.bits) for f in FORMS]
        for name, harm in zip(names, harms, strict=True)
    }
    return Prices(tuple(layers), found, frozenset())


PRICES = prices(100, 6, 5, 4, 20)
PLANNED = plan_bits(PRICES, BUDGET)
OTHERS = WithinBytes(PLANNED, PRICES)


def names() -> list[str]:
    return list(within(PRICES, PLANNED, ("w1",)))


def within(prices: Prices, planned: Planned, outputs: tuple[str, ...] = ()) -> dict[str, Planned]:
    return dict(contenders(planned, WithinBytes(planned, prices), prices, outputs))


def test_one_form_for_all_is_the_best_that_fits() -> None:
    found = uniform(PRICES, 5 * 200 * 3.2)
    assert found is not None
    assert {c.options for c in found.chosen.values()} == {ScalarOptions(3)}
    assert found.harm == pytest.approx(sum((100, 6, 5, 4, 20)) * 4.0**-3)
    assert uniform(PRICES, 5 * 200 * 1.9) is None


def test_a_plan_for_bits_finds_what_the_relaxation_misses() -> None:
    """w0 has the best gain per byte, and leaves too little for the two others."""
    sizes = {"w0": (1000, 0.0), "w1": (900, 0.15), "w2": (900, 0.15)}
    found = {
        name: [Candidate(FORMS[0], 0, 1.0), Candidate(FORMS[1], size, harm)]
        for name, (size, harm) in sizes.items()
    }
    few = replace(prices(1, 1, 1), choices=found)
    planned = plan_bits(few, Budget("bits", 8 * 1850 / few.count))
    assert planned.choice is not None
    assert planned.choice.harm == pytest.approx(1.3)


def test_contenders_keep_to_the_budget_and_differ() -> None:
    found = within(PRICES, PLANNED, ("w1",))
    assert names()[:2] == ["least harm", "one format for all layers"]
    assert found["least harm"] is PLANNED
    assert PLANNED.choice is not None
    for one, other in itertools.combinations(found.values(), 2):
        assert one.plan != other.plan
    for contender in found.values():
        assert contender.choice is not None
        assert sum(c.bytes for c in contender.choice.chosen.values()) <= 5 * 200 * 3.2
        assert contender.choice.harm >= PLANNED.choice.harm
        assert contender.choice.bound == PLANNED.choice.bound > 0
        assert contender.budget == BUDGET


def test_output_layers_get_more() -> None:
    found = within(PRICES, PLANNED, ("w1",))
    more = found["output layers 4-fold"].plan["w1"]
    assert more.bits > PLANNED.plan["w1"].bits  # type: ignore[union-attr]


def test_later_layers_count_more() -> None:
    alike = prices(10, 20, 20, 20, 20)
    found = within(alike, plan_bits(alike, Budget("bits", 3.0)))
    plan = found["later layers count more"].plan
    assert (plan["w0"], plan["w4"]) == (ScalarOptions(2), ScalarOptions(4))


def test_gains_count_more() -> None:
    """Harms hold the fourth root of the gains; with the root w4 loses what w0 gets."""
    alike = replace(prices(20, 20, 20, 20, 20), sensitivities={"w0": 256.0, "w4": 1 / 256})
    found = within(alike, plan_bits(alike, Budget("bits", 3.0)))
    assert list(found)[1] == "sensitivities count more"
    plan = found["sensitivities count more"].plan
    assert (plan["w0"], plan["w4"]) == (ScalarOptions(4), ScalarOptions(2))
    # Without gains that plan is the first one, and is not tried twice.
    assert "sensitivities count more" not in within(PRICES, PLANNED)


@pytest.mark.parametrize("best", range(3))
def test_the_best_by_trial_is_taken(best: int) -> None:
    tried: list[Planned] = []

    def trial(planned: Planned) -> Score:
        tried.append(planned)
        return score(*[0.1 if len(tried) == best + 1 else 0.2] * 8)

    found = best_by_trial(PLANNED, OTHERS, PRICES, ("w1",), 3, trial)
    assert len(tried) == len(names()[:3])
    assert found.plan == tried[min(best, len(tried) - 1)].plan
    assert f"taken: {names()[best]}" in found.facts[-1]


def test_of_equals_the_least_harm_is_taken() -> None:
    found = best_by_trial(PLANNED, OTHERS, PRICES, (), 4, lambda planned: score(0.1, 0.1))
    assert found.plan == PLANNED.plan


def score(*each: float) -> Score:
    """Of a file that has these divergences."""
    return Score(sum(each) / len(each), each=each)


def test_what_may_be_chance_is_not_taken() -> None:
    """One sample of eight is much better, the others are a little worse."""
    scores = iter([score(*[0.1] * 7, 0.9), score(*[0.12] * 7, 0.1)])
    found = best_by_trial(PLANNED, OTHERS, PRICES, ("w1",), 2, lambda planned: next(scores))
    assert found.plan == PLANNED.plan
    said = f"{names()[0]} 0.2000, {names()[1]} 0.1175; taken: {names()[0]}, as less may be chance"
    assert found.facts[-1].endswith(said)


def test_what_may_be_chance_is_said_of_another_plan_too() -> None:
    scores = iter([score(0.2, 0.2), score(0.15, 0.15), score(0.0, 0.22)])
    found = best_by_trial(PLANNED, OTHERS, PRICES, ("w1",), 3, lambda planned: next(scores))
    assert found.facts[-1].endswith(f"; taken: {names()[1]}, as less may be chance")


@pytest.mark.parametrize(
    ("one", "other", "below"),
    [
        ((0.1, 0.2), (0.2, 0.3), True),
        ((0.2, 0.3), (0.1, 0.2), False),
        ((0.1, 0.1), (0.1, 0.1), False),
        ((0.1,), (0.9,), False),
        ((0.1, 0.2), (np.inf, 0.1), True),
        ((0.1, 0.2), (np.nan, 0.1), True),
        ((np.inf, 0.1), (0.2, 0.3), False),
        ((np.inf, 0.1), (np.inf, 0.1), False),
        # Less by 0.2, and a standard error of 0.1; by 0.1, and 0.2.
        ((0.1, 0.1), (0.2, 0.4), True),
        ((0.1, 0.1), (0.0, 0.4), False),
    ],
)
def test_clearly_below(one: tuple[float, ...], other: tuple[float, ...], below: bool) -> None:
    assert score(*one).clearly_below(score(*other)) is below


def test_trials_of_a_network(tmp_path: Path) -> None:
    images = smooth_images(64, size=6)
    model = classifier(images)
    options = CompressOptions(bits=3.0, trials=2)
    planned = plan_network(model, samples_for(model, images), options, silent).planned
    assert "least harm 0." in planned.facts[-1]
    found = subbyte.compress(model, tmp_path / "a.onnx", images, options)
    assert found.plan == planned.plan


def test_trials_are_for_what_is_predicted() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"trials": 2, "method": "product"},
        {"trials": 2, "max_drop": 1.0},
        {"trials": -1, "bits": 2.0},
    )
    for wrong in wrongs:
        with pytest.raises(OptionError, match="`trials`"):
            CompressOptions(**wrong)
