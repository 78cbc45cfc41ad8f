from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from subbyte.cli.app import app
from tests.report.reported import Pair, make_pair


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), tight=0.4)


@pytest.fixture(scope="module")
def data(pair: Pair) -> Path:
    path = pair.model.with_name("data.npz")
    np.savez(path, x=pair.samples, y=pair.labels)
    return path


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_report(pair: Pair, data: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / "report"
    result = run(
        *("report", pair.model, "--float-network", pair.reference, "-o", target, "--format", form),
        *("--data", f"{data}:x", "--labels", f"{data}:y", "--runs", 1, "--layer-samples", 8),
    )
    assert result.exit_code == 0, result.output
    text = target.read_text()
    if form == "json":
        found = json.loads(text)
        assert found["sensitivity"]["samples"] == 8
        assert found["scores"][0]["n"] == 24
        assert all(sentence in result.output for sentence in found["advice"])
    else:
        assert text.startswith("<!doctype html>" if form == "html" else "# ")
        assert "conv2" in text
    assert "saturates" in result.output
    assert list(tmp_path.iterdir()) == [target]


def test_user_errors(pair: Pair, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    base = ("report", pair.model, "--float-network", pair.reference, "-o", target)
    for more, message in (
        (("--labels", "y"), "expected --data FOLDER|FILE.npz:array"),
        (("--data", f"{data}:z"), "no such array"),
        (("--points", tmp_path), "cannot read the points"),
        (("--peers", "abacus"), "unknown peer"),
        (("--runs", -1), "runs out of range"),
    ):
        result = run(*base, *more)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
        assert not target.exists()
    assert run(*base[:-1], tmp_path / "no" / "report.html").exit_code == 2
    assert run("report", pair.model, "-o", target).exit_code == 2
