"""The networks' samples, settings and command lines."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.networks import __main__ as program
from benchmarks.networks.catalog import NETWORKS
from benchmarks.networks.datasets import everything, halves
from benchmarks.networks.measure import metric
from benchmarks.networks.record import Setting, preprocessing_options, run
from subbyte.data import Preprocessing

DATA = Path(os.environ.get("SUBBYTE_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder: set SUBBYTE_DATA")


def test_halves_share_no_sample() -> None:
    split = halves(np.arange(7), np.arange(7))
    assert split.calibration.tolist() == [1, 3, 5]
    assert split.test.tolist() == split.targets.tolist() == [0, 2, 4, 6]


def test_halves_keep_a_repeated_sample_out_of_the_calibration() -> None:
    split = halves(np.array([5, 1, 6, 5]), np.arange(4))
    assert split.calibration.tolist() == [1]
    assert split.test.tolist() == [5, 6]


def test_label_names_everything_that_differs() -> None:
    assert Setting(2.0).label() == "2"
    assert Setting(1.45, ("--tune", "2000"), 4000).label() == "1.45-n4000-tune-2000"


def test_preprocessing_options_leave_defaults_out() -> None:
    assert preprocessing_options(Preprocessing()) == []
    assert preprocessing_options(Preprocessing(255, (0.5,), (0.25, 1.0, 2.0), "nhwc")) == [
        *("--input-scale", "255", "--mean", "0.5", "--std", "0.25,1.0,2.0", "--layout", "nhwc"),
    ]


def test_a_failed_command_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^subbyte inspect nowhere.onnx: exit status 2$"):
        run(["subbyte", "inspect", "nowhere.onnx"])
    assert "nowhere.onnx" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("folder", "named", "said"),
    [
        (".", ["kwt1", "kwt9"], "no such network: kwt9; there are dscnn, kwt1"),
        ("none", [], "no data folder at none: set SUBBYTE_DATA"),
    ],
)
def test_command_lines_on_networks(
    folder: str, named: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("dscnn", "kwt1")
    parser = program.network_parser("keep", "What it does.", names)
    assert program.parse(parser, names, Path(), ["kwt1"]).networks == ["kwt1"]
    with pytest.raises(SystemExit, match=r"^2$"):
        program.parse(parser, names, Path(folder), named)
    assert said in capsys.readouterr().err


@needs_data
@pytest.mark.parametrize("name", ["dscnn", "kwt1", "resnet8"])
def test_float_metric_is_the_published_one(name: str) -> None:
    row = NETWORKS[name]
    measured = metric(row, DATA / row.model, row.load(DATA, everything))
    assert measured == pytest.approx(row.published, abs=0.006)


@needs_data
@pytest.mark.parametrize("name", ["dscnn", "kwt1"])
def test_no_calibration_sample_is_a_test_sample(name: str) -> None:
    split = NETWORKS[name].load(DATA, halves)
    tested = {sample.tobytes() for sample in split.test}
    assert len(split.test) == 250
    assert len(split.calibration) == 249
    assert not any(sample.tobytes() in tested for sample in split.calibration)
