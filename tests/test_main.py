"""``python -m subbyte`` is the program itself."""

from __future__ import annotations

import os
import subprocess
import sys

# What the script that pip makes of `[project.scripts]` does.
ENTRY_POINT = "import sys; from subbyte.cli import main; sys.exit(main())"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True
    )


def test_the_module_is_the_entry_point() -> None:
    found, expected = run("-m", "subbyte", "--help"), run("-c", ENTRY_POINT, "--help")
    assert "Usage: subbyte " in found.stdout
    assert (found.stdout, found.returncode) == (expected.stdout, 0)


def test_its_errors_are_those_of_the_program() -> None:
    found = run("-m", "subbyte", "inspect", "none.onnx")
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert "none.onnx" in found.stderr
