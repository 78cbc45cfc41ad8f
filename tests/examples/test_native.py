"""The Python example runs as its docstring says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.errors import MissingDependencyError
from tests import tiny

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_runs_a_compressed_file_without_importing_subbyte(tmp_path: Path) -> None:
    try:
        library = subbyte.library_path()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    source = tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((8, 3, 6, 6)).astype(np.float32)
    target = tmp_path / "small.onnx"
    subbyte.compress(source, target, samples, method="scalar", bits=4)
    printed = run("-c", "from subbyte.cli import main; main()", "library-path")
    assert printed == f"{library}\n"
    example = ROOT / "examples" / "native" / "run.py"
    name, *shape, total = run(example, target, printed.strip()).split()
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 6), np.float32)
    expected = np.asarray(subbyte.load(target, engine="native").run(x))
    assert (name, "".join(shape)) == ("logits", "[1,4]")
    assert float(total) == pytest.approx(float(expected.sum()), rel=1e-4, abs=1e-6)
    assert "import subbyte" not in example.read_text()
