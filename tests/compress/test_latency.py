"""Predicted times, and plans that are held to them. What is measured is pretended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from subbyte.compress import latency, latency_fit, plan
from subbyte.compress.blank import blank_model
from subbyte.compress.latency import kernel_form, latency_model, measure_models
from subbyte.compress.options import CompressOptions
from subbyte.compress.plan import Planned, make_plan
from subbyte.compress.plan_file import EIGHT_BITS, Plan, planned_layers
from subbyte.compress.plan_text import plan_text
from subbyte.compress.prices import price
from subbyte.data import Samples
from subbyte.errors import BudgetError, OptionError, TimingsError
from subbyte.graph.read import prepare
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions
from subbyte.runtime.grid import DEPTHWISE, form_names
from subbyte.runtime.kernels import Form, LayerSize
from subbyte.runtime.library import find_library
from subbyte.runtime.timings import Timings
from tests import tiny
from tests.compress.nets import CPU, normal, samples_for, silent

MODEL = tiny.classifier(tiny.conv_weights(width=32))
SAMPLES = samples_for(MODEL, normal(0, 24, 3, 6, 6))
BESIDE = 20e-6


def timings(lookups: float = 1e-9) -> Timings:
    """A look-up costs ``lookups`` seconds, a multiply-add one nanosecond, all else nothing."""
    prices = dict.fromkeys(form_names(), (0.0, 0.0, 0.0, lookups, 0.0))
    prices |= {"int8": (0.0, 0.0, 0.0, 1e-9, 0.0), DEPTHWISE: (0.0, 0.0, 0.0, 1e-9)}
    return Timings("cpu", "avx2", "0", prices, dict.fromkeys(prices, (0.0, 0.0)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with `timings`, on which every file takes what is predicted and `BESIDE`, and
    longer for a while now and then."""
    pretend(monkeypatch)


def pretend(
    monkeypatch: pytest.MonkeyPatch, apart: float = 1.0, groups: Mapping[int, float] | None = None
) -> None:
    """A `machine` on which layers that are looked up take ``apart`` times what is predicted,
    those with words of the length of one of ``groups`` so many times that."""
    monkeypatch.setattr(plan, "load_timings", lambda path: timings())
    monkeypatch.setattr(latency, "LEAST_WORK", 1)
    monkeypatch.setattr(latency, "_REST_SECONDS", 0.0)
    model = latency_model(prepare(MODEL, "net"), SAMPLES, CPU, timings())

    def taken(written: onnx.ModelProto) -> float:
        total = BESIDE
        for node in written.graph.node:
            found = [layer for layer in model.layers if layer.name == node.name]
            for layer in found:
                length = next((a.i for a in node.attribute if a.name == "table_shift"), None)
                book = next(
                    (
                        t
                        for t in written.graph.initializer
                        if t.name in node.input and "book" in t.name
                    ),
                    None,
                )
                looked_up = length is not None and book is not None
                options = ProductOptions(book.dims[2] if looked_up and book else 1)
                coded = options if looked_up else EIGHT_BITS
                factor = apart * (groups or {}).get(options.group, 1.0) if looked_up else 1
                total += factor * model.seconds(layer.weight, coded)
        return total

    speeds = itertools.cycle([1.0, 1.3, 2.0])

    def measured(files: Sequence[onnx.ModelProto], samples: object) -> list[float]:
        slower = next(speeds)
        return [slower * taken(written) for written in files]

    monkeypatch.setattr(latency_fit, "measure_models", measured)


def planned(**wishes: object) -> Planned:
    options = CompressOptions(**wishes)  # type: ignore[arg-type]
    return make_plan(prepare(MODEL, "net"), SAMPLES, options, CPU, silent)


def test_which_kernel_computes_a_layer() -> None:
    layer = prepare(MODEL, "net").layers[1]
    size = LayerSize(64, 64, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_form(layer, size, ProductOptions(4, gain=0)) == Form(4)
    assert kernel_form(layer, size, ProductOptions(8, gain=2)) == Form(8, gain=True)
    assert kernel_form(layer, size, ProductOptions(4, words=32)) == Form()
    assert kernel_form(layer, size, ScalarOptions(4)) == kernel_form(layer, size, EIGHT_BITS)
    assert kernel_form(layer, size, ProductOptions(3)) == Form(3)
    assert kernel_form(layer, size, ScalarOptions(2)) == Form(2)
    # With a stride, a table serves too few look-ups.
    strided = LayerSize(64, 64, 32, 32, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    assert kernel_form(layer, strided, ScalarOptions(2)) == Form()
    small = LayerSize(4, 4, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_form(layer, small, ProductOptions(4)) == Form()
    assert kernel_form(layer, size, TernaryOptions(8)) == Form()
    assert kernel_form(layer, size, CompositeOptions(4)) == Form()
    binary = BinaryOptions(order=1, scales="pixel")
    assert kernel_form(layer, size, binary) == Form(order=1, scales="pixel")
    streamed = LayerSize(1, 1, 1024, 1024, linear=True)
    assert kernel_form(layer, streamed, ScalarOptions(3)) == Form(bits=3)


def test_many_words_are_looked_up_where_the_file_will_say_so() -> None:
    """The rule is that of `table_shifts`: tables of many words need many outputs."""
    layer = prepare(tiny.classifier(tiny.conv_weights(width=128)), "net").layers[1]
    size = LayerSize(28, 28, 128, 128, kernel=(3, 3), pads=(1, 1, 1, 1))
    for words in (32, 64):
        form = kernel_form(layer, size, ProductOptions(8, words=words, gain=1))
        assert form == Form(8, gain=True, words=words)
        assert form.name == f"look-up 8 of {words} gain"
    assert kernel_form(layer, size, ProductOptions(2, words=256)) == Form()
    small = LayerSize(1, 1, 128, 128, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert kernel_form(layer, small, ProductOptions(8, words=64)) == Form()


def test_sizes_of_the_layers() -> None:
    model = latency_model(prepare(MODEL, "net"), SAMPLES, CPU, timings())
    assert model.sizes["conv2"] == LayerSize(6, 6, 32, 32, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert model.sizes["head"] == LayerSize(1, 1, 32, 4, linear=True)
    work = 6 * 6 * 9 * 32 * 32
    assert model.seconds("conv2.weight", EIGHT_BITS) == pytest.approx(1e-9 * work)
    rows = 6 * 6 * 9 * 32
    assert model.seconds("conv2.weight", BinaryOptions(2)) == pytest.approx(1e-9 * rows)
    with pytest.raises(TimingsError, match=r"no kernel timings.*got binary 5 column"):
        model.seconds("conv2.weight", BinaryOptions(5))


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
        BudgetError, match=r"--latency out of reach.*at least ([0-9.]+) ms"
    ) as error:
        planned(latency=0.03)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert planned(latency=named + 0.001).plan["conv2.weight"] == ProductOptions(8, gain=4)


@pytest.mark.usefixtures("machine")
def test_a_time_that_is_within_reach_when_measured_again_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something else runs while plans are measured, and has ended when nothing seems to do."""
    fitted, calls = plan.fitted_model, []
    relative = latency_fit.BlankFiles.relative

    def busy(self: latency_fit.BlankFiles, coded: Plan) -> float:
        calls.append(relative(self, coded))
        return 1e3 if len(calls) == 1 else calls[-1]

    def model(*arguments: Any) -> Any:
        found = fitted(*arguments)
        monkeypatch.setattr(latency_fit.BlankFiles, "relative", busy)
        return found

    monkeypatch.setattr(plan, "fitted_model", model)
    monkeypatch.setattr(plan, "_LATENCY_ROUNDS", 1)
    found = planned(latency=1e3 * (BESIDE + 1e-3))
    assert len(calls) == 2
    assert found.plan["conv2.weight"] == ProductOptions(8, gain=4)


@pytest.mark.usefixtures("machine")
def test_what_runs_as_int8_saves_no_time() -> None:
    """Ternary factors are decoded to int8: they are chosen for their error alone."""
    budget = planned(latency=1.0).choice
    assert budget is not None
    eight = sum(c.seconds or 0.0 for c in budget.chosen.values())
    found = planned(latency=1e3 * (BESIDE + 0.6 * eight), methods=("ternary", "product"))
    assert isinstance(found.plan["conv2.weight"], ProductOptions)


@pytest.mark.parametrize("apart", [0.5, 0.9, 1.0, 1.2, 1.6])
def test_the_time_that_is_measured_counts(apart: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan keeps to the budget and uses it, whether predictions are too long or too short."""
    pretend(monkeypatch, apart)
    model = latency_model(prepare(MODEL, "net"), SAMPLES, CPU, timings())
    eight = {layer.weight: EIGHT_BITS for layer in model.layers}

    def taken(coded: ProductOptions) -> float:
        layers = {w: model.seconds(w, o) for w, o in (eight | {"conv2.weight": coded}).items()}
        layers["conv2.weight"] *= apart
        return 1e3 * (BESIDE + sum(layers.values()))

    found = planned(latency=taken(ProductOptions(4)) + 1e-6).plan["conv2.weight"]
    assert isinstance(found, ProductOptions)
    assert (found.group, found.gain) == (4, 4)
    with pytest.raises(BudgetError, match="--latency out of reach") as error:
        planned(latency=taken(ProductOptions(8)) - 1e-3)
    named = float(str(error.value).partition("at least ")[2].partition(" ms")[0])
    assert named == pytest.approx(taken(ProductOptions(8)), abs=1e-3)


def test_every_form_is_measured_in_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1.1, {4: 1.2, 8: 0.8})
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(network, SAMPLES, options, CPU, silent)
    model = latency_model(network, SAMPLES, CPU, timings())
    found = latency_fit.fitted_model(network, model, prices, SAMPLES, options, silent)
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


def test_a_form_that_is_measured_beyond_belief_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, 1.0, {4: 90.0, 8: 0.01})
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(network, SAMPLES, options, CPU, silent)
    model = latency_model(network, SAMPLES, CPU, timings())
    ratios = latency_fit.fitted_model(network, model, prices, SAMPLES, options, silent).ratios
    assert (ratios["look-up 4 gain"], ratios["look-up 8 gain"]) == (2.0, 0.5)


def test_a_form_that_is_predicted_to_take_no_time_has_no_ratio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch)
    network, options = prepare(MODEL, "net"), CompressOptions(latency=1.0)
    prices = price(network, SAMPLES, options, CPU, silent)
    model = latency_model(network, SAMPLES, CPU, timings(lookups=0.0))
    found = latency_fit.fitted_model(network, model, prices, SAMPLES, options, silent)
    assert found.ratios == {}


def test_a_blank_file_is_looked_up_where_the_file_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepare(MODEL, "net")
    model = latency_model(network, SAMPLES, CPU, timings())
    form = {layer.weight: ProductOptions(4) for layer in model.layers}
    form["head.weight"] = EIGHT_BITS
    # All its layers are too small to be looked up.
    assert model.looked_up(form) == set()
    monkeypatch.setattr(latency, "LEAST_WORK", 1)
    assert model.looked_up(form) == {"conv1", "conv2"}
    for names in (set(), {"conv2"}):
        written = blank_model(network, form, CompressOptions(), names)
        marked = {
            n.name for n in written.graph.node for a in n.attribute if a.name == "table_shift"
        }
        assert marked == names


def test_latency_needs_timings(tmp_path: Path) -> None:
    with pytest.raises(TimingsError, match="calibrate-cpu"):
        planned(latency=1.0, timings=tmp_path / "none.json")
    with pytest.raises(OptionError, match="--timings belongs to --latency"):
        CompressOptions(timings=tmp_path / "none.json")


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What blocks of runs take, in seconds; those that are measured are taken out of it."""
    taken: list[float] = []
    network = SimpleNamespace(session=SimpleNamespace(run=lambda *_: None))
    monkeypatch.setattr(latency, "load", lambda *_, **__: network)
    monkeypatch.setattr(latency, "_block", lambda *_: taken.pop(0))
    return taken


def test_a_measurement_ends_when_it_gets_no_faster(blocks: list[float]) -> None:
    blocks += [3.0, 3.0, 3.0, 3.0, 2.0, 2.5, 2.0, 1.99, 2.5, 2.5, 1.0]
    assert latency.measure_file(Path("net.onnx"), SAMPLES) == 1.99
    assert blocks == [1.0]


def test_a_measurement_ends_though_it_gets_faster_and_faster(blocks: list[float]) -> None:
    blocks += [0.9**turn for turn in range(60)]
    assert latency.measure_file(Path("net.onnx"), SAMPLES) == 0.9**49


def test_blocks_of_files_are_measured_in_turn(blocks: list[float]) -> None:
    """Until none gets faster."""
    blocks += [3.0, 5.0, 2.0, 4.0, 2.0, 4.0, 2.0, 4.0, 2.0, 3.0, *([2.5, 3.5] * 5), 1.0]
    assert latency.measure_files([Path("a.onnx"), Path("b.onnx")], SAMPLES) == [2.0, 3.0]
    assert blocks == [1.0]


def test_heavy_work_is_followed_by_a_rest(machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    pretended = latency_fit.measure_models

    def measured(files: Sequence[onnx.ModelProto], samples: Samples) -> list[float]:
        events.append("measured")
        return pretended(files, samples)

    monkeypatch.setattr(latency_fit, "measure_models", measured)
    monkeypatch.setattr(time, "sleep", lambda seconds: events.append("rest"))
    planned(latency=1.0)
    assert events[:2] == ["rest", "measured"]
    assert events.count("rest") == 1


@pytest.mark.skipif(find_library() is None, reason="no native library")
def test_a_file_is_measured() -> None:
    network = prepare(MODEL, "net")
    eight = {layer.weight: EIGHT_BITS for layer in network.layers}
    written = blank_model(network, eight, CompressOptions())
    found = measure_models([written, written], SAMPLES)
    assert len(found) == 2
    assert all(0 < seconds < 1 for seconds in found)
