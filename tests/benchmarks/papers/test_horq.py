"""The comparison of HORQ with XNOR-Net: one net for all orders, runs that resume, records."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.networks.__main__ import DATA
from benchmarks.papers import horq, horq_nets, horq_training
from benchmarks.papers.horq_data import EvaluationSet, Task, held_out, translate
from benchmarks.papers.horq_nets import NETS
from benchmarks.papers.horq_training import Run, Training
from subbyte.nn import binary_layers


def task() -> Task:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (192, 1, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(192) % 10
    mean, std = torch.full((1, 1, 1, 1), 128.0), torch.full((1, 1, 1, 1), 64.0)
    test = EvaluationSet((images[:64].float() - mean) / std, labels[:64])
    return Task(images, labels, mean, std, {"test": test}, shift=2, flip=True)


def run(order: int = 2, epochs: int = 2, seed: int = 0) -> Run:
    return Run("mnist", "narrow", order, "leaf", seed, 192, epochs, 64, 2e-3)


def test_nets_differ_in_their_binary_layers_only() -> None:
    shapes = []
    for order in (0, 1, 3):
        net = horq_nets.build(horq_nets.Net((8, 16, 24), (0, 1)), 1, order, "chain")
        shapes.append({name: value.shape for name, value in net.state_dict().items()})
        layers = binary_layers(net)
        assert len(layers) == (2 if order else 0)
        assert net(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert shapes[0] == shapes[1] == shapes[2]


def test_blocks_of_later_work_are_the_same_in_float() -> None:
    options = horq_nets.Net((8, 16, 24), (0, 1), shift=True, activation="prelu", shortcut=True)
    assert options.options == "shift, prelu, shortcut"
    nets = [horq_nets.build(options, 1, order, "leaf") for order in (0, 2)]
    assert [len(binary_layers(net)) for net in nets] == [0, 2]
    nets[1].load_state_dict(nets[0].state_dict())
    assert nets[1](torch.randn(2, 1, 28, 28)).shape == (2, 10)


def test_a_net_in_words_says_what_it_is_made_of() -> None:
    net = NETS["cifar10"]["narrow"]
    assert net.layers == "5x5/2 32, 3x3 32, pool, 3x3 64, pool, 3x3 128"
    made = horq_nets.build(net, 3, 0, "leaf")
    names = [type(layer).__name__ for layer in made]
    assert [i for i, name in enumerate(names) if name == "MaxPool2d"] == [5, 9]
    assert names.count("Conv2d") == len(net.channels)


def test_a_run_cut_off_ends_as_the_whole_one_does(tmp_path: Path) -> None:
    whole = Training(run(), task(), tmp_path / "whole")
    whole.finish()
    part = Training(run(), task(), tmp_path / "part")
    part.losses.append(part._epoch(0))
    part._save()
    resumed = Training(run(), task(), tmp_path / "part")
    assert resumed.losses == whole.losses[:1]
    resumed.finish()
    assert resumed.losses == whole.losses
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    losses = []
    for seed in (0, 1):
        training = Training(run(1, 1, seed), task(), tmp_path)
        training.finish()
        losses.append(training.losses)
    assert losses[0] != losses[1]


def test_a_binary_net_goes_on_from_the_float_one(tmp_path: Path) -> None:
    late = replace(run(epochs=4), float_epochs=2, real_epochs=1, distil=0.5)
    training = Training(late, task(), tmp_path)
    start = Training(run(0), task(), tmp_path)
    assert training.losses == start.losses
    assert len(start.losses) == 2
    for name, value in start.net.state_dict().items():
        torch.testing.assert_close(training.net.state_dict()[name], value)
    stages = []
    for epoch in (2, 3):
        training._epoch(epoch)
        stages.append({layer.binarize_weights for layer in binary_layers(training.net)})
    assert stages == [{False}, {True}]


def test_the_float_net_teaches(tmp_path: Path) -> None:
    images, labels = task().images[:64].float(), torch.zeros(64, dtype=torch.int64)
    alone, taught = (
        Training(replace(run(epochs=3), float_epochs=2, distil=distil), task(), tmp_path)
        for distil in (0.0, 1.0)
    )
    assert alone.teacher is None
    assert taught.teacher is not None
    wanted = taught.teacher(images).detach()
    assert float(horq_training.divergence(wanted, wanted)) == pytest.approx(0, abs=1e-5)
    expected = horq_training.divergence(alone.net(images), wanted)
    torch.testing.assert_close(taught._loss(images, labels), expected)


def test_divergence_by_hand() -> None:
    scores, wanted = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(horq_training.divergence(scores, wanted)) == pytest.approx(expected)


def test_a_record_of_before_has_the_defaults() -> None:
    record = {**asdict(run()), "accuracy": {}}
    for name in ("float_epochs", "real_epochs", "distil"):
        del record[name]
    assert horq.is_of(run(), record)
    assert not horq.is_of(replace(run(), float_epochs=1), record)


def test_images_move_by_whole_pixels() -> None:
    images = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    assert translate(images, 1, 0)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert translate(images, 0, -2)[0, 0].tolist() == [[3, 0, 0], [6, 0, 0], [9, 0, 0]]
    assert translate(images, 0, 0).tolist() == images.tolist()


def test_a_balanced_set_counts_classes_alike() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    predicted = torch.tensor([0, 0, 0, 0])
    images = torch.zeros(4, 1, 1, 1)
    assert EvaluationSet(images, labels).accuracy(predicted) == 75
    assert EvaluationSet(images, labels, balanced=True).accuracy(predicted) == 50


@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="no CIFAR-10 in the data folder")
def test_settings_are_chosen_by_the_last_training_images() -> None:
    chosen = held_out(DATA, 8)
    (images,) = chosen.tests.values()
    assert list(chosen.tests) == ["held_out"]
    assert len(images.images) == len(images.labels) == 5000
    assert len(chosen.images) == len(chosen.labels) == 8
    with np.load(DATA / "cifar10" / "cifar10_jpeg.npz") as z:
        assert images.labels.tolist() == z["y_train"][45_000:].tolist()


def test_what_is_recorded_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Run] = []

    def measure(run: Run, *_: Any) -> dict[str, Any]:
        made.append(run)
        return {**vars(run), "accuracy": {"test": 10.0}}

    monkeypatch.setattr(horq, "DATA", tmp_path)
    monkeypatch.setattr(horq, "measure", measure)
    monkeypatch.setattr(horq, "TASKS", {"mnist": lambda *_: task()})
    output = tmp_path / "horq.json"
    common = ["horq", "mnist", "--images", "192", "--output", str(output), "--orders", "0"]
    for orders in ([], ["2"]):
        monkeypatch.setattr(sys, "argv", [*common, *orders])
        assert horq.main() == 0
    assert [run.order for run in made] == [0, 2]
    records = json.loads(output.read_text())["runs"]
    assert [record["order"] for record in records] == [0, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["mnist", "--held-out", "--output", "other.json"],
        ["cifar10", "--held-out"],
        ["cifar10", "--held-out", "--output", "other.json", "--images", "50000"],
        ["mnist", "--net", "wide"],
    ],
)
def test_what_cannot_be_asked_for(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["horq", *arguments])
    with pytest.raises(SystemExit, match="2"):
        horq.main()


def test_the_committed_result_holds_whole_runs() -> None:
    for record in horq.held(horq.RESULT):
        assert len(record["losses"]) == record["epochs"]
        assert all(0 < value <= 100 for value in record["accuracy"].values())
        assert record["layers"] == NETS[record["dataset"]][record["net"]].layers
