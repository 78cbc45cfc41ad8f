from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.cli.console import byte_size
from tests import tiny
from tests.cli.invoked import WIDE, run

OPTIONS = {
    "compress": (
        "--output --calib --samples --preset --input-scale --mean --std --layout --resize --crop "
        "--color --image-size --method --set --bits "
        "--plan --tune --tune-linear --seed --device --work --inline --activations --json"
    ),
    "eval": (
        "--data --labels --preset --input-scale --mean --std --layout --resize --crop --color "
        "--image-size --samples --engine --float-network --json"
    ),
    "inspect": "--json",
    "report": (
        "--float-network --output --format --points --data --labels --samples --layer-samples "
        "--preset --input-scale --mean --std --layout --resize --crop --color --image-size "
        "--runs --threads --peers"
    ),
    "bench": "--threads --runs --batch-size --json",
    "inline": "--output --json",
    "tune": (
        "--output --data --float-network --labels --steps --batch-size --rate-factor --work "
        "--preset --input-scale --mean --std --layout --resize --crop --color --image-size "
        "--seed --device --bf16 --json"
    ),
    "methods": "--json",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(tiny.classifier(), tmp_path / "net.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    labels = np.arange(24, dtype=np.uint8) % tiny.CLASSES
    np.savez(path, x=tiny.images(), y=labels)
    return path


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option_and_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert [o for o in OPTIONS[command].split() if o not in result.output] == []
    assert f"subbyte {command} " in result.output
    assert "Example" in result.output


def test_help_lists_the_commands() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert [name for name in OPTIONS if f" {name} " not in result.output] == []
    assert run().exit_code in (0, 2)


def test_version() -> None:
    assert run("--version").output.split() == ["subbyte", subbyte.__version__]


def test_eval(model: Path, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "eval.json"
    result = run(
        *("eval", model, "--data", f"{data}:x", "--labels", f"{data}:y", "--input-scale", 255),
        *("--mean", "0.5,0.5,0.5", "--std", "-0.25,0.25,0.25", "--layout", "nhwc"),
        *("--float-network", model, "--samples", 20, "--json", target, "--engine", "portable"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(target.read_text())
    assert (found["n"], found["agreement"], found["kl"]) == (20, 100, 0)
    steps = subbyte.Preprocessing(255, (0.5,), (-0.25, 0.25, 0.25), "nhwc")
    expected = subbyte.evaluate(
        model,
        f"{data}:x",
        f"{data}:y",
        preprocessing=steps,
        samples=20,
        float_network=model,
        engine="portable",
    )
    assert expected.to_dict().items() <= found.items()
    assert "balanced_accuracy" in result.stdout


def test_bench(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    result = run("bench", model, model, "--runs", 2, "--threads", 1, "--json", target)
    assert result.exit_code == 0, result.output
    found = json.loads(target.read_text())
    assert len(found["models"]) == 2
    assert found["models"][0]["ratio"] == 1
    assert found["subbyte"] == subbyte.__version__
    result = run("bench", model, "--runs", 1, "--shape", "input=3x3x6x6", "--json", target)
    assert json.loads(target.read_text())["shapes"] == {"input": [3, 3, 6, 6]}


def test_methods(tmp_path: Path) -> None:
    from subbyte.methods import METHODS

    target = tmp_path / "methods.json"
    result = run("methods", "--json", target)
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(target.read_text())["methods"]] == list(METHODS)
    assert all(name in result.stdout for name in METHODS)
    usage = run("compress", "--help").output
    assert ", ".join(sorted(METHODS)) in usage


def test_usage_errors_exit_with_two(model: Path) -> None:
    assert run("shrink").exit_code == 2
    assert run("bench").exit_code == 2
    assert run("bench", model, "--runs", "many").exit_code == 2
    assert run("bench", model, "--shape", "input=0x3").exit_code == 2
    assert run("eval", model, "--data", "a.npz", "--mean", "a,b").exit_code == 2
    assert run("eval", model, "--data", "a.npz", "--layout", "chw").exit_code == 2


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_054_321, "1.05 MB"),
        (250 * 10**9, "250 GB"),
    ],
)
def test_byte_size(count: int, text: str) -> None:
    assert byte_size(count) == text


def test_as_a_program(model: Path, data: Path, tmp_path: Path) -> None:
    def program(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from subbyte.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | WIDE,
            timeout=120,
        )

    target = tmp_path / "eval.json"
    base = ("eval", model, "--data", f"{data}:x", "--labels", f"{data}:y")
    good = program(*base, "--layout", "nhwc", "--json", target)
    assert good.returncode == 0, good.stderr
    assert json.loads(target.read_text())["n"] == 24
    bad = program(*base)
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr.startswith("error: samples do not fit")
    assert bad.stderr.count("\n") == 1
