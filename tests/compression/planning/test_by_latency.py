"""Plans that are held to a latency. What is measured is pretended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency import model as latency
from subbyte.compression.latency.model import latency_model
from subbyte.compression.pipeline import plan_network
from subbyte.compression.planning import by_latency as plan_latency
from subbyte.compression.planning import latency_fit
from subbyte.compression.planning.knapsack import Choice, choose_finely
from subbyte.compression.planning.plan_file import Plan, planned_layers
from subbyte.compression.planning.plan_text import plan_text
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError, TimingsError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.product.form import ProductOptions
from subbyte.progress import silent
from tests.compression.nets import samples_for, smooth_images
from tests.compression.pretended import BESIDE, MODEL, SAMPLES, planned, pretend, timings


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file takes what is predicted and `BESIDE`, and longer for a while now and then."""
    pretend(monkeypatch)


@pytest.mark.usefixtures("machine")
def test_layers_are_coded_only_as_far_as_time_asks() -> None:
    loose = planned(latency=1.0)
    assert set(loose.plan.values()) == {EIGHT_BITS}
    assert loose.choice is not None
    eight = sum(c.seconds or 0.0 for c in loose.choice.chosen.values())
    found = planned(latency=1e3 * (BESIDE + 0.35 * eight))
    coded = found.plan["conv2.weight"]
    assert isinstance(coded, ProductOptions)
    assert coded.group >= 4
    assert found.plan["conv1.weight"] == found.plan["head.weight"] == EIGHT_BITS
    text = plan_text(found, planned_layers(prepare(MODEL, "net")))
    assert "0.020 ms are not layers" in text
    assert " ms, harm " in text


@pytest.mark.usefixtures("machine")
def test_out_of_reach_names_the_least_that_works() -> None:
    with pytest.raises(
        BudgetError, match=r"`latency` out of reach.*at least ([0-9.]+) ms"
    ) as error:
        planned(latency=0.03)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert planned(latency=named + 0.001).plan["conv2.weight"] == ProductOptions(8, gain=4)


@pytest.mark.usefixtures("machine")
def test_a_time_that_is_within_reach_when_measured_again_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something else runs while plans are measured, and has ended when nothing seems to do."""
    calls = busy(monkeypatch)
    found = planned(latency=0.108)
    assert len(calls) == 2 + 2
    assert found.plan["conv2.weight"] == ProductOptions(8, gain=4)


@pytest.mark.usefixtures("machine")
def test_a_time_that_only_a_single_form_keeps_to_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a little faster than predicted, and what is predicted to be faster never is."""
    groups: list[int] = []

    def taken(plan: Plan, as_it_is: float) -> float:
        coded = plan["conv2.weight"]
        assert isinstance(coded, ProductOptions)
        groups.append(coded.group)
        return 0.985 * as_it_is if coded.group == 3 else 0.5

    after_the_fit(monkeypatch, taken)
    found = planned(latency=0.99 * milliseconds(3))
    assert found.plan["conv2.weight"] == ProductOptions(3, gain=4)
    assert groups == [4, 4, 8, 8, 3, 3]
    with pytest.raises(BudgetError, match="`latency` out of reach") as error:
        planned(latency=0.984 * milliseconds(3))
    assert f"at least {-(-985 * milliseconds(3) // 1) / 1e3:.3f} ms" in str(error.value)


@pytest.mark.parametrize(
    ("parts", "group"),
    [((0.9, 0.95), 3), ((0.9, 1.2, 0.95), 3), ((1.2, 0.9, 0.9), 3), ((0.9, 1.2, 1.1), 4)],
)
def test_two_of_three_measurements_count(
    parts: tuple[float, ...], group: int, machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a plan that takes just the budget, and is fast enough by chance, or is not."""
    measured: list[int] = []
    left = list(parts)

    def taken(plan: Plan, as_it_is: float) -> float:
        coded = plan["conv2.weight"]
        assert isinstance(coded, ProductOptions)
        measured.append(coded.group)
        return (left.pop(0) if left else 1.2) * as_it_is if coded.group == 3 else as_it_is

    after_the_fit(monkeypatch, taken)
    found = planned(latency=milliseconds(3) + 1e-6).plan["conv2.weight"]
    assert measured[: len(parts)] == [3] * len(parts)
    assert isinstance(found, ProductOptions)
    assert found.group == group
    assert not left


def busy(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of one plan that is measured, and seems to take too long; what measurements give."""
    calls: list[float] = []

    def taken(plan: Plan, as_it_is: float) -> float:
        calls.append(as_it_is)
        return 1e3 if len(calls) <= 2 else as_it_is

    after_the_fit(monkeypatch, taken)
    return calls


def after_the_fit(monkeypatch: pytest.MonkeyPatch, taken: Callable[[Plan, float], float]) -> None:
    """Files of plans take what ``taken`` says, to what 8 bits take; one plan is tried."""
    fitted, relative = plan_latency.fitted_model, latency_fit.BlankFiles.relative

    def changed(self: latency_fit.BlankFiles, coded: Plan) -> float:
        return taken(coded, relative(self, coded))

    def model(*arguments: Any) -> Any:
        monkeypatch.setattr(latency_fit.BlankFiles, "relative", relative)
        found = fitted(*arguments)
        monkeypatch.setattr(latency_fit.BlankFiles, "relative", changed)
        return found

    monkeypatch.setattr(plan_latency, "fitted_model", model)
    monkeypatch.setattr(plan_latency, "_ROUNDS", 1)


@pytest.mark.usefixtures("machine")
def test_what_runs_as_int8_saves_no_time() -> None:
    """Ternary factors are decoded to int8: they are chosen for their error alone."""
    budget = planned(latency=1.0).choice
    assert budget is not None
    eight = sum(c.seconds or 0.0 for c in budget.chosen.values())
    found = planned(latency=1e3 * (BESIDE + 0.6 * eight), method=("ternary", "product"))
    assert isinstance(found.plan["conv2.weight"], ProductOptions)


@pytest.mark.parametrize("apart", [0.5, 0.9, 1.0, 1.2, 1.6])
def test_the_time_that_is_measured_counts(apart: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan keeps to the budget and uses it, whether predictions are too long or too short."""
    pretend(monkeypatch, apart)
    found = planned(latency=milliseconds(4, apart) + 1e-6).plan["conv2.weight"]
    assert isinstance(found, ProductOptions)
    assert (found.group, found.gain) == (4, 4)
    with pytest.raises(BudgetError, match="`latency` out of reach") as error:
        planned(latency=milliseconds(8, apart) - 1e-3)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert named == pytest.approx(milliseconds(8, apart), abs=1e-3)


def milliseconds(group: int, apart: float = 1.0) -> float:
    """What the machine takes where conv2 has codes of so many channels, all else 8 bits."""
    model = latency_model(Run(prepare(MODEL, "net"), SAMPLES), timings())
    eight = {layer.weight: EIGHT_BITS for layer in model.layers}
    plan: Plan = eight | {"conv2.weight": ProductOptions(group)}
    layers = {weight: model.seconds(weight, options) for weight, options in plan.items()}
    layers["conv2.weight"] *= apart
    return 1e3 * (BESIDE + sum(layers.values()))


def test_latency_needs_timings(tmp_path: Path) -> None:
    with pytest.raises(TimingsError, match="calibrate-cpu"):
        planned(latency=1.0, timings=tmp_path / "none.json")
    with pytest.raises(OptionError, match="`timings` belongs to `latency`"):
        CompressOptions(timings=tmp_path / "none.json")


def test_heavy_work_is_followed_by_a_rest(machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    pretended = latency_fit.measure_models

    def measured(files: Iterable[onnx.ModelProto], samples: Samples) -> list[float]:
        events.append("measured")
        return pretended(files, samples)

    monkeypatch.setattr(latency_fit, "measure_models", measured)
    monkeypatch.setattr(time, "sleep", lambda seconds: events.append("rest"))
    planned(latency=1.0)
    assert events[:2] == ["rest", "measured"]
    assert events.count("rest") == 1


@pytest.mark.usefixtures("machine")
def test_no_plan_harms_more_than_a_single_form_that_keeps_to_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one plan that is measured on the way seems to take too long."""
    enough = planned(latency=0.2)
    assert enough.plan["conv2.weight"] == ProductOptions(3, gain=4)
    busy(monkeypatch)
    assert planned(latency=0.2).plan == enough.plan


@pytest.mark.usefixtures("machine")
def test_the_gap_is_not_that_to_a_smaller_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All plans seem to take half as long again, so that they are made for less and less."""
    pretend(monkeypatch, 1.5)
    bounds: list[float] = []

    def chosen(*arguments: Any) -> Choice:
        choice = choose_finely(*arguments)
        bounds.append(choice.bound)
        return choice

    def as_predicted(network: object, model: latency.LatencyModel, *_: object) -> Any:
        return replace(model, beside=BESIDE)

    monkeypatch.setattr(plan_latency, "choose_finely", chosen)
    monkeypatch.setattr(plan_latency, "fitted_model", as_predicted)
    found = planned(latency=0.2).choice
    assert found is not None
    assert bounds[0] < bounds[-1]
    assert found.bound <= bounds[0]


@pytest.mark.usefixtures("machine")
def test_trials_within_a_latency() -> None:
    images = smooth_images(64, size=6)
    options = CompressOptions(latency=0.2, trials=2)
    found = plan_network(MODEL, samples_for(MODEL, images), options, silent).planned
    assert "least harm 0." in found.facts[-1]
    assert "ms a sample measured" in found.facts[0]
