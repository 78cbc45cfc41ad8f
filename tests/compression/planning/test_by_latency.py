"""Plans that are held to a latency. What is measured is pretended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from subbyte.budgets import Budget
from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.machine import THIS_MACHINE
from subbyte.compression.latency.model import latency_model
from subbyte.compression.planning.by_latency import LatencyPlans
from subbyte.compression.planning.knapsack import choose_finely
from subbyte.compression.planning.make import make_plan
from subbyte.compression.planning.network_plan import commented_plan
from subbyte.compression.planning.plan_file import Plan, planned_layers
from subbyte.compression.planning.search_space import price
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError, TimingsError
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.methods.product.form import ProductOptions
from tests.compression.nets import samples_for, smooth_images
from tests.compression.pretended import BESIDE, MODEL, SAMPLES, Pretended, planned, timings

MACHINE = Pretended()


def test_layers_are_coded_only_as_far_as_time_asks() -> None:
    loose = planned(MACHINE, latency=1.0)
    assert set(loose.plan.values()) == {EIGHT_BITS}
    assert loose.choice is not None
    eight = sum(c.seconds or 0.0 for c in loose.choice.chosen.values())
    found = planned(MACHINE, latency=1e3 * (BESIDE + 0.35 * eight))
    coded = found.plan["conv2.weight"]
    assert isinstance(coded, ProductOptions)
    assert coded.group >= 4
    assert found.plan["conv1.weight"] == found.plan["head.weight"] == EIGHT_BITS
    text = commented_plan(found, planned_layers(prepare(MODEL, "net")))
    assert "0.020 ms are not layers" in text
    assert " ms, harm " in text


def test_out_of_reach_names_the_least_that_works() -> None:
    with pytest.raises(
        BudgetError, match=r"`latency` out of reach.*at least ([0-9.]+) ms"
    ) as error:
        planned(MACHINE, latency=0.03)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert planned(MACHINE, latency=named + 0.001).plan["conv2.weight"] == ProductOptions(8, gain=4)


def test_a_time_that_is_within_reach_when_measured_again_is_not_refused() -> None:
    """Something else runs while plans are measured, and has ended when nothing seems to do."""
    calls: list[float] = []
    found = planned(busy(calls), rounds=1, latency=0.108)
    assert len(calls) == 2 + 2
    assert found.plan["conv2.weight"] == ProductOptions(8, gain=4)


def test_a_time_that_only_a_single_form_keeps_to_is_not_refused() -> None:
    """It is a little faster than predicted, and what is predicted to be faster never is."""
    groups: list[int] = []

    def taken(group: int, as_it_is: float) -> float:
        groups.append(group)
        return 0.985 * as_it_is if group == 3 else 0.5

    found = planned(Pretended(after_the_fit=taken), rounds=1, latency=0.99 * milliseconds(3))
    assert found.plan["conv2.weight"] == ProductOptions(3, gain=4)
    assert groups == [4, 4, 8, 8, 3, 3]
    with pytest.raises(BudgetError, match="`latency` out of reach") as error:
        planned(Pretended(after_the_fit=taken), rounds=1, latency=0.984 * milliseconds(3))
    assert f"at least {-(-985 * milliseconds(3) // 1) / 1e3:.3f} ms" in str(error.value)


@pytest.mark.parametrize(
    ("parts", "group"),
    [((0.9, 0.95), 3), ((0.9, 1.2, 0.95), 3), ((1.2, 0.9, 0.9), 3), ((0.9, 1.2, 1.1), 4)],
)
def test_two_of_three_measurements_count(parts: tuple[float, ...], group: int) -> None:
    """Of a plan that takes just the budget, and is fast enough by chance, or is not."""
    measured: list[int] = []
    left = list(parts)

    def taken(length: int, as_it_is: float) -> float:
        measured.append(length)
        return (left.pop(0) if left else 1.2) * as_it_is if length == 3 else as_it_is

    machine = Pretended(after_the_fit=taken)
    found = planned(machine, rounds=1, latency=milliseconds(3) + 1e-6).plan["conv2.weight"]
    assert measured[: len(parts)] == [3] * len(parts)
    assert isinstance(found, ProductOptions)
    assert found.group == group
    assert not left


def busy(calls: list[float]) -> Pretended:
    """A machine on which the first plan seems to take too long; ``calls``: the times as they
    are."""

    def taken(_: int, as_it_is: float) -> float:
        calls.append(as_it_is)
        return 1e3 if len(calls) <= 2 else as_it_is

    return Pretended(after_the_fit=taken)


def test_what_runs_as_int8_saves_no_time() -> None:
    """Ternary factors are decoded to int8: they are chosen for their error alone."""
    budget = planned(MACHINE, latency=1.0).choice
    assert budget is not None
    eight = sum(c.seconds or 0.0 for c in budget.chosen.values())
    found = planned(MACHINE, latency=1e3 * (BESIDE + 0.6 * eight), method=("ternary", "product"))
    assert isinstance(found.plan["conv2.weight"], ProductOptions)


@pytest.mark.parametrize("apart", [0.5, 0.9, 1.0, 1.2, 1.6])
def test_the_time_that_is_measured_counts(apart: float) -> None:
    """The plan keeps to the budget and uses it, whether predictions are too long or too short."""
    machine = Pretended(apart=apart)
    found = planned(machine, latency=milliseconds(4, apart) + 1e-6).plan["conv2.weight"]
    assert isinstance(found, ProductOptions)
    assert (found.group, found.gain) == (4, 4)
    with pytest.raises(BudgetError, match="`latency` out of reach") as error:
        planned(machine, latency=milliseconds(8, apart) - 1e-3)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert named == pytest.approx(milliseconds(8, apart), abs=1e-3)


def milliseconds(group: int, apart: float = 1.0) -> float:
    """What the machine takes where conv2 has codes of so many channels, all else 8 bits."""
    model = latency_model(Run(prepare(MODEL, "net"), SAMPLES), timings(), MACHINE.least_work)
    eight = {layer.weight: EIGHT_BITS for layer in model.layers}
    plan: Plan = eight | {"conv2.weight": ProductOptions(group)}
    layers = {weight: model.seconds(weight, options) for weight, options in plan.items()}
    layers["conv2.weight"] *= apart
    return 1e3 * (BESIDE + sum(layers.values()))


def test_latency_needs_timings(tmp_path: Path) -> None:
    with pytest.raises(TimingsError, match="calibrate-cpu"):
        planned(THIS_MACHINE, latency=1.0, timings=tmp_path / "none.json")
    with pytest.raises(OptionError, match="`timings` belongs to `latency`"):
        CompressOptions(timings=tmp_path / "none.json")


def test_heavy_work_is_followed_by_a_rest() -> None:
    events: list[str] = []

    class Watched(Pretended):
        def rest(self) -> None:
            events.append("rest")

        def measure_models(
            self, models: Iterable[onnx.ModelProto], samples: Samples
        ) -> list[float]:
            events.append("measured")
            return super().measure_models(models, samples)

    planned(Watched(), latency=1.0)
    assert events[:2] == ["rest", "measured"]
    assert events.count("rest") == 1


def test_no_plan_harms_more_than_a_single_form_that_keeps_to_the_budget() -> None:
    """The one plan that is measured on the way seems to take too long."""
    enough = planned(MACHINE, latency=0.2)
    assert enough.plan["conv2.weight"] == ProductOptions(3, gain=4)
    assert planned(busy([]), rounds=1, latency=0.2).plan == enough.plan


def test_the_gap_is_not_that_to_a_smaller_budget() -> None:
    """All plans seem to take half as long again, so that they are made for less and less."""
    run = Run(prepare(MODEL, "net"), SAMPLES, CompressOptions(latency=0.2))
    model = replace(latency_model(run, timings(), least_work=1), beside=BESIDE)
    prices = price(run).timed(model)
    plans = LatencyPlans(run, prices, model, Budget("latency", 0.2), Pretended(apart=1.5))
    found = plans.least_harm().choice
    assert found is not None

    def bound(microseconds: float) -> float:
        return choose_finely(plans._choices, microseconds, lambda c: 1e6 * (c.seconds or 0.0)).bound

    taken = 1e6 * sum(c.seconds or 0.0 for c in found.chosen.values())
    whole = 1e6 * (0.2e-3 - BESIDE)
    assert bound(taken) > bound(whole)
    assert found.bound <= bound(whole)


def test_trials_within_a_latency() -> None:
    images = smooth_images(64, size=6)
    options = CompressOptions(latency=0.2, trials=2)
    run = Run(prepare(MODEL, "net"), samples_for(MODEL, images), options)
    found = make_plan(run, MACHINE)
    assert "least harm 0." in found.facts[-1]
    assert "ms a sample measured" in found.facts[0]
