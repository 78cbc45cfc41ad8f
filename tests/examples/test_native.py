"""The Python and the C++ example run as they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.errors import MissingDependencyError
from tests import tiny

ROOT = Path(__file__).parents[2]
ORT = "ONNXRUNTIME_DIR"
# make native-example calls the environment's pytest, which need not be the shell's: nor its cmake.
CMAKE = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def call(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(*arguments: object) -> str:
    return call(sys.executable, *arguments)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A compressed file."""
    source = tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((8, 3, 6, 6)).astype(np.float32)
    subbyte.compress(source, tmp_path / "small.onnx", samples, method="scalar", bits=4)
    return tmp_path / "small.onnx"


@pytest.fixture
def library() -> Path:
    try:
        return subbyte.library_path()
    except MissingDependencyError as error:
        pytest.skip(str(error))


def test_runs_a_compressed_file_without_importing_subbyte(small: Path, library: Path) -> None:
    printed = run("-c", "from subbyte.cli import main; main()", "library-path")
    assert printed == f"{library}\n"
    example = ROOT / "examples" / "native" / "run.py"
    name, *shape, total = run(example, small, printed.strip()).split()
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 6), np.float32)
    expected = np.asarray(subbyte.load(small, engine="native").run(x))
    assert (name, "".join(shape)) == ("logits", "[1,4]")
    assert float(total) == pytest.approx(float(expected.sum()), rel=1e-4, abs=1e-6)
    assert "import subbyte" not in example.read_text()


@pytest.mark.skipif(
    ORT not in os.environ,
    reason=f"{ORT} is not set: the C++ example needs ONNX Runtime's headers (make native-example)",
)
@pytest.mark.skipif(CMAKE is None, reason="no cmake on this machine")
def test_the_cpp_example_runs_a_compressed_file(small: Path, library: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    source = ROOT / "examples" / "native"
    warnings = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"
    call(CMAKE, "-S", source, "-B", build, f"-D{ORT}={os.environ[ORT]}", warnings)
    call(CMAKE, "--build", build)
    printed = call(build / "run", small, library)
    x = np.full((1, 3, 6, 6), 0.5, np.float32)
    expected = np.asarray(subbyte.load(small, engine="native").run(x))
    assert printed.startswith("logits: 4 values, sum ")
    total = float(printed.split()[-1])
    assert total == pytest.approx(float(expected.sum()), rel=1e-4, abs=1e-6)
    failed = subprocess.run([build / "run", small, "missing.so"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "missing.so" in failed.stderr
