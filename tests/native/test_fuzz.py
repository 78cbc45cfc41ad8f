"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import subbyte
from tests.native.fuzz import fuzz, total
from tests.native.fuzz_nodes import operators
from tests.native.registered import registered_operators

NATIVE = Path(__file__).parents[2] / "native"


@pytest.fixture(scope="module")
def registrar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """one_operator of native/tests: models open eight times as fast."""
    target = tmp_path_factory.mktemp("registrar") / "one_operator.so"
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-shared", "-fPIC"]
    command += [f"-I{NATIVE}", f"-I{NATIVE / 'include'}", str(NATIVE / "tests/one_operator.cpp")]
    subprocess.run([*command, "-ldl", "-o", str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def fresh_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: tests before may have loaded the library, which has told its operators then."""
    source = subbyte.library_path()
    return Path(shutil.copy(source, tmp_path_factory.mktemp("library") / source.name))


def test_mutated_models_never_crash(registrar: Path, fresh_library: Path) -> None:
    outcomes = fuzz(2000, seed=1, library=fresh_library, registrar=registrar)
    # Both happen: mutations that pass the checks are computed, the others refused.
    assert total(outcomes)["ran"] > 150
    assert total(outcomes)["refused"] > 400
    assert all(counts["ran"] > 0 for counts in outcomes.values()), outcomes


def test_every_operator_is_fuzzed() -> None:
    registered = registered_operators(subbyte.library_path())
    assert len(set(registered)) == len(registered) > 170
    assert sorted(operators()) == sorted(registered)
