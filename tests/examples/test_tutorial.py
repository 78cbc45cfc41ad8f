"""Every block of the tutorial runs, in its order, on the network of the demo."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples import digits
from tests.forked import forked_programs

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.M | re.S)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as `make demo` leaves it, with a small network trained for a moment only."""
    folder = tmp_path_factory.mktemp("checkout")
    demo = folder / "out" / "demo"
    demo.mkdir(parents=True)
    train_x, test_x, train_y, test_y = digits.digits()
    digits.export(digits.train(train_x, train_y, width=16, epochs=2), demo / "digits.onnx")
    np.savez(demo / "calibration.npz", images=train_x[:64])
    np.savez(demo / "test.npz", images=test_x, labels=test_y)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    programs = folder / "programs"
    programs.mkdir()
    (programs / "make").write_text('#!/bin/sh\ntest "$*" = demo\n')
    (programs / "make").chmod(0o755)
    with forked_programs(programs):
        yield folder


def script() -> str:
    """The page's blocks as one program for the shell."""
    parts = ["set -euo pipefail"]
    for kind, text in BLOCK.findall(PAGE.read_text()):
        parts.append(text if kind == "sh" else f"python - <<'BLOCK'\n{text}BLOCK")
    return "\n".join(parts)


def test_tutorial_runs_as_it_is_written(checkout: Path) -> None:
    path = f"{checkout / 'programs'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script()],
        cwd=checkout,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    demo = checkout / "out" / "demo"
    for name in ("small.onnx", "edited.onnx", "tuned.onnx", "plain.onnx", "report.html"):
        assert (demo / name).stat().st_size > 1000
    assert (demo / "plan.toml").read_text() != (demo / "edited.toml").read_text()
    assert "bits" in done.stdout


def test_tutorial_has_commands() -> None:
    commands = [line for line in script().splitlines() if line.startswith("subbyte ")]
    assert len(commands) >= 8
    assert {"compress", "plan", "inspect", "eval", "bench", "report", "inline"} <= {
        line.split()[1] for line in commands
    }
