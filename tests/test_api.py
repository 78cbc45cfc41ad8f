from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import subbyte
from tests import tiny

ROOT = Path(__file__).parents[1]


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_cheap() -> None:
    heavy = "{'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'typer', 'rich', 'numpy'}"
    code = f"import sys, subbyte; print(sorted({heavy} & set(sys.modules)))"
    assert run_python(code).strip() == "[]"


def test_running_a_model_imports_neither_torch_nor_onnx(tmp_path: Path) -> None:
    path = tiny.save(tiny.classifier(), tmp_path / "a.onnx")
    code = (
        "import sys, numpy, subbyte\n"
        "model = subbyte.load(sys.argv[1])\n"
        "print(model.run(numpy.zeros((2, 3, 6, 6), numpy.float32)).shape)\n"
        "print([m for m in sys.modules if m.partition('.')[0] in "
        "('torch', 'onnx', 'onnx_ir', 'onnxscript')])"
    )
    assert run_python(code, str(path)).splitlines() == ["(2, 4)", "[]"]


def test_exports() -> None:
    assert set(subbyte.__all__) <= set(dir(subbyte))
    for name in subbyte.__all__:
        assert getattr(subbyte, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = subbyte.nothing  # type: ignore[attr-defined]


def test_compress_is_a_function_however_it_is_reached() -> None:
    assert callable(subbyte.compress)
    code = "import subbyte.compression.config, subbyte; print(callable(subbyte.compress))"
    assert run_python(code).strip() == "True"


def test_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert subbyte.__version__ == project["version"]
