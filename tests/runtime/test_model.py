from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx.reference
import pytest
from onnx import TensorProto

import subbyte
from subbyte.errors import (
    CalibrationError,
    MissingDependencyError,
    ModelFileError,
    OptionError,
)
from subbyte.runtime.model import session_options
from tests import tiny


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny.save(tiny.classifier(), tmp_path / "a.onnx")


def batch(count: int = 3) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((count, 3, 6, 6)).astype(np.float32)


def test_runs_like_the_reference(path: Path) -> None:
    model = subbyte.load(path, threads=1)
    expected = onnx.reference.ReferenceEvaluator(str(path)).run(None, {"input": batch()})[0]
    np.testing.assert_allclose(model.run(batch()), expected, atol=1e-5)
    np.testing.assert_array_equal(model.run({"input": batch()}), model.run(batch()))
    np.testing.assert_array_equal(model.run(batch().astype(np.float64)), model.run(batch()))


def test_describes_inputs_and_outputs(path: Path) -> None:
    model = subbyte.load(path)
    assert model.input_names == ["input"]
    assert model.output_names == ["logits"]
    assert model.inputs[0].shape == ("N", 3, 6, 6)
    assert model.inputs[0].dtype == np.float32
    assert model.outputs[0].shape == ("N", 4)


def test_several_inputs_and_integers(tmp_path: Path) -> None:
    path = tiny.save(tiny.two_inputs(TensorProto.INT64), tmp_path / "two.onnx")
    model = subbyte.load(path)
    a, b = np.ones((2, 4), np.int32), np.full((2, 4), 2, np.int8)
    assert np.asarray(model.run(a, b)).tolist() == [[3] * 4] * 2
    assert np.asarray(model.run({"b": b, "a": a})).tolist() == [[3] * 4] * 2
    with pytest.raises(CalibrationError, match="expected int64, got float64"):
        model.run(a, b / 2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), r"expected 1 \(input\), got 0"),
        (({"image": np.ones(1)},), "expected input, got image"),
        ((np.ones((2, 6, 6, 3)),), r"expected \['N', 3, 6, 6\], got \[2, 6, 6, 3\]"),
        ((np.ones((3, 6, 6)),), "got \\[3, 6, 6\\]"),
        ((np.full((1, 3, 6, 6), "a"),), "wrong dtype"),
    ],
)
def test_arrays_that_do_not_fit(path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        subbyte.load(path).run(*arrays)


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        subbyte.load(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="is a folder"):
        subbyte.load(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelFileError, match="is empty"):
        subbyte.load(tmp_path / "empty.onnx")


@pytest.mark.parametrize("keep", [1, 10, 200, -1, -20])
def test_truncated_file(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="cannot load the model"):
        subbyte.load(path)


def test_other_files(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    with pytest.raises(ModelFileError, match="expected an ONNX file"):
        subbyte.load(text)


def test_unknown_operator(tmp_path: Path) -> None:
    model = tiny.classifier(activation="Wobble", domain="custom.domain")
    with pytest.raises(ModelFileError, match="Wobble"):
        subbyte.load(tiny.save(model, tmp_path / "a.onnx"))


def test_long_messages_are_shown_whole(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Transpose", ["x"], ["y"], "n" * 400, perm=[0, 2, 3, 1])
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3]), ("y", None))
    ]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    path = tiny.save(onnx.helper.make_model(graph, ir_version=8), tmp_path / "a.onnx")
    with pytest.raises(ModelFileError, match=r"n{400}.*perm.*input shape = \{0, 3\}"):
        subbyte.load(path)


def test_engines_and_threads(path: Path) -> None:
    assert subbyte.load(path).engine == "native"
    assert subbyte.load(path, engine="portable").engine == "portable"
    with pytest.raises(OptionError, match="unknown `engine`"):
        subbyte.load(path, engine="quick")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="threads"):
        subbyte.load(path, threads=0)


def test_package_without_native_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name of the library is another one there.
    monkeypatch.setattr(sys, "platform", "darwin")
    assert subbyte.load(path).engine == "portable"
    with pytest.raises(MissingDependencyError, match="not installed"):
        subbyte.load(path, engine="native")
    with pytest.raises(MissingDependencyError, match=r"no libsubbyte_native\.dylib"):
        subbyte.library_path()


def test_library_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "broken.so"
    library.write_bytes(b"not a library")
    with pytest.raises(MissingDependencyError, match=r"engine portable.*broken\.so"):
        session_options("native", None, library)
    assert capfd.readouterr().err == ""


def test_failure_inside_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny.build(
        [onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])],
        {"shape": np.array([4, -1])},
        {"x": ["N", 3]},
        {"y": [4, "M"]},
    )
    loaded = subbyte.load(tiny.save(model, tmp_path / "a.onnx"))
    with pytest.raises(ModelFileError, match="cannot run the model"):
        loaded.run(np.ones((1, 3), np.float32))
    assert capfd.readouterr().err == ""


def test_onnxruntime_writes_no_telemetry(path: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("ORT_DISABLE_TELEMETRY", "CI") and not key.startswith("XDG_")
    }
    code = "import sys, subbyte, time; subbyte.load(sys.argv[1]); time.sleep(0.5)"
    subprocess.run(
        [sys.executable, "-B", "-c", code, str(path)],
        env=environment | {"HOME": str(home)},
        check=True,
        timeout=60,
    )
    assert list(home.rglob("*")) == []


def test_damaged_names_end_in_the_named_error(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A name that is not UTF-8 cannot even be quoted by ONNX Runtime's message."""
    good = path.read_bytes()
    for name in (b"conv2.weight", b"input", b"Flatten"):
        damaged = tmp_path / "damaged.onnx"
        damaged.write_bytes(good.replace(name, b"\xff" + name[1:], 1))
        with pytest.raises(ModelFileError, match="cannot load the model"):
            subbyte.load(damaged)
    assert capfd.readouterr().out == ""


def test_bad_isa_is_one_line_that_says_so(path: Path) -> None:
    code = "from subbyte.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "bench", str(path), "--engine", "native", "--runs", "1"],
        env=os.environ | {"SUBBYTE_ISA": "quick"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ONNX Runtime cannot use the native library")
    assert "SUBBYTE_ISA" in done.stderr
    assert "quick" in done.stderr
