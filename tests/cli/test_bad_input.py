"""Whatever is wrong with the input: one line on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from subbyte.cli.app import app
from tests import tiny
from tests.cli.invoked import fails

Fails = Callable[..., str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(tiny.classifier(), tmp_path / "net.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return save_data(tmp_path, x=tiny.images(), y=np.arange(24) % tiny.CLASSES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "small.onnx"


@pytest.fixture
def compress_fails(model: Path, data: Path, out: Path) -> Fails:
    """Run ``compress``, check how it fails, give the message."""

    def check(
        *options: object, source: Path = model, calib: object = None, output: Path = out
    ) -> str:
        given = f"{data}:x" if calib is None else calib
        common = ("compress", source, "-o", output, "--calib", given, "--layout", "nhwc")
        message = fails(*common, *options)
        assert not out.exists()
        left = [name for name in os.listdir(out.parent) if name.startswith(".") or ".work" in name]
        assert left == []
        return message

    return check


def save_data(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def refuse(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


# Models


@pytest.mark.parametrize("keep", [0, 1, 50, 1000, -1, -40])
def test_truncated_model(compress_fails: Fails, model: Path, keep: int) -> None:
    model.write_bytes(model.read_bytes()[:keep])
    assert "net.onnx" in compress_fails()


def test_models_that_are_none(compress_fails: Fails, tmp_path: Path, data: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a network\n" * 100)
    assert "text.onnx" in compress_fails(source=text)
    assert "data.npz" in compress_fails(source=data)
    assert "none.onnx" in compress_fails(source=tmp_path / "none.onnx")
    assert "is a folder" in compress_fails(source=tmp_path)


@pytest.mark.parametrize("command", ["eval", "inspect", "inline", "bench"])
def test_truncated_model_in_other_commands(
    command: str, model: Path, data: Path, out: Path
) -> None:
    model.write_bytes(model.read_bytes()[:-40])
    options: dict[str, tuple[object, ...]] = {
        "eval": ("--data", f"{data}:x", "--labels", f"{data}:y"),
        "inline": ("-o", out),
    }
    assert "net.onnx" in fails(command, model, *options.get(command, ()))
    assert not out.exists()


@pytest.mark.parametrize(("activation", "domain"), [("Wobble", "custom.domain"), ("Wobble", "")])
def test_unknown_operator(
    compress_fails: Fails, tmp_path: Path, activation: str, domain: str
) -> None:
    source = tiny.save(tiny.classifier(activation=activation, domain=domain), tmp_path / "odd.onnx")
    message = compress_fails(source=source)
    assert activation in message
    assert "act1" in message
    assert ("1" if domain else "18") in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["conv2.weight", "head.bias"])
def test_weights_that_are_not_finite(
    compress_fails: Fails, tmp_path: Path, value: float, name: str
) -> None:
    weights = tiny.conv_weights()
    weights[name].flat[3] = value
    source = tiny.save(tiny.classifier(weights), tmp_path / "bad.onnx")
    message = compress_fails(source=source)
    assert name in message
    assert "NaN" in message or "Inf" in message or "finite" in message


def test_layer_of_zeros(compress_fails: Fails, tmp_path: Path) -> None:
    weights = tiny.conv_weights()
    weights["conv2.weight"][:] = 0
    source = tiny.save(tiny.classifier(weights), tmp_path / "zero.onnx")
    message = compress_fails(source=source)
    assert "conv2" in message
    assert "zero" in message


def test_nothing_to_compress(compress_fails: Fails, tmp_path: Path) -> None:
    shape = ["N", 3, 6, 6]
    nodes = [tiny.helper.make_node("Relu", ["input"], ["y"], "relu")]
    empty = tiny.build(nodes, {}, {"input": shape}, {"y": shape})
    assert "nothing to compress" in compress_fails(source=tiny.save(empty, tmp_path / "empty.onnx"))


@pytest.mark.parametrize("inline", [False, True])
def test_already_compressed(
    compress_fails: Fails, model: Path, data: Path, tmp_path: Path, inline: bool
) -> None:
    small = tmp_path / "small.onnx"
    options = ["--inline"] if inline else []
    command = ["compress", model, "-o", small, "--calib", f"{data}:x", "--layout", "nhwc", *options]
    result = CliRunner().invoke(app, [str(argument) for argument in command])
    assert result.exit_code == 0, result.output
    assert "already" in compress_fails(source=small)


# Calibration data


def test_data_files_that_are_none(compress_fails: Fails, tmp_path: Path, data: Path) -> None:
    assert "no such data file" in compress_fails(calib=tmp_path / "none.npz")
    assert "no images in the folder" in compress_fails(calib=tmp_path)
    data.write_bytes(data.read_bytes()[:-30])
    assert "cannot read arrays" in compress_fails()
    data.write_text("text")
    assert "expected an .npz or .npy file" in compress_fails()


def test_array_names(compress_fails: Fails, data: Path) -> None:
    message = compress_fails(calib=data)
    assert "several arrays" in message
    assert "x uint8 [24, 6, 6, 3], y int64 [24]" in message
    assert "got z" in compress_fails(calib=f"{data}:z")


def test_arrays_are_not_resized(compress_fails: Fails) -> None:
    for given in (("--resize", "pad"), ("--crop", "0.5"), ("--image-size", "6")):
        message = compress_fails(*given)
        assert "arrays are neither resized nor cropped" in message
        assert "neither --resize, --crop, --color nor --image-size" in message


def test_shapes(compress_fails: Fails, data: Path, tmp_path: Path) -> None:
    message = compress_fails(calib=f"{data}:y")
    assert "expected [N, 3, 6, 6], got [24]" in message
    assert "(try --layout nhwc)" in compress_fails("--layout", "nchw")
    save_data(tmp_path, x=np.zeros((4, 7, 6, 3)))
    assert "got [4, 3, 7, 6]" in compress_fails()


def test_dtypes(compress_fails: Fails, tmp_path: Path) -> None:
    save_data(tmp_path, x=np.array([["a"]]))
    assert "not numeric" in compress_fails()
    save_data(tmp_path, x=np.array([{}], dtype=object))
    assert "pickles" in compress_fails()


def test_no_samples(compress_fails: Fails, tmp_path: Path) -> None:
    save_data(tmp_path, x=np.zeros((0, 6, 6, 3), np.uint8))
    assert "no samples" in compress_fails()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite(compress_fails: Fails, tmp_path: Path, value: float) -> None:
    images = tiny.images().astype(np.float32)
    images[7, 2, 2, 1] = value
    save_data(tmp_path, x=images)
    message = compress_fails()
    assert "NaN or Inf" in message
    assert "sample 7" in message


def test_preprocessing(compress_fails: Fails) -> None:
    assert "mean has the wrong length" in compress_fails("--mean", "1,2")
    assert "std has the wrong length" in compress_fails("--std", "1,2,3,4")
    assert "std out of range" in compress_fails("--std", "1,0,1")
    assert "scale out of range" in compress_fails("--input-scale", "0")


def test_several_inputs_need_their_arrays(
    compress_fails: Fails, tmp_path: Path, data: Path
) -> None:
    source = tiny.save(tiny.two_inputs(), tmp_path / "two.onnx")
    message = compress_fails(source=source)
    assert "expected a, b, got x" in message


# Options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--samples", 0), "number of samples"),
        (("--samples", -3), "number of samples"),
        (("--bits", 0.01), "--bits"),
        (("--bits", 99), "--bits"),
        (("--bits", "nan"), "--bits"),
        (("--set", "group=5"), "product: group out of range: expected 1, 2, 3, 4, 6 or 8"),
        (("--set", "gain=9"), "product: gain out of range: expected 0 to 4"),
        (("--set", "words=20"), "product: words out of range"),
        (("--set", "words=256"), "words: no layer has more"),
        (("--set", "procedure=paper", "--bits", 2), "--bits and procedure paper exclude"),
        (("--tune-linear", -1), "--tune-linear"),
        (("--tune", -1), "--tune"),
        (("--seed", -1), "--seed"),
        (("--seed", 10**25), "--seed"),
        (("--method", "scalar", "--set", "group=4"), "--set group: no such option"),
        (("--method", "ternary", "--set", "rank=0"), "ternary: rank out of range"),
        (("--method", "ternary", "--set", "rank_ratio=5"), "rank_ratio out of range"),
        (("--method", "scalar", "--set", "rank=4"), "--set rank: no such option"),
        (("--method", "composite", "--set", "planes=0"), "grid without planes"),
        (("--method", "composite", "--set", "procedure=paper,bottleneck=0"), "allows no rank"),
        (("--method", "composite", "--set", "bottleneck=0.5"), "belongs to procedure paper"),
        (("--method", "scalar", "--set", "planes=4"), "expected scalar: bits, exact"),
        (("--method", "binary", "--set", "order=0"), "order out of range"),
        (("--method", "binary", "--set", "order=9"), "order out of range"),
        (("--method", "scalar", "--set", "order=2"), "--set order: no such option"),
        (("--method", "ternary", "--set", "scales=pixel"), "--set scales: no such option"),
        (("--set", "group"), "cannot read --set"),
        (("--set", "group=many"), "product: cannot read group"),
        (("--set", "scalar.bits=2"), "--set scalar.bits: no such option"),
        (("--method", "spline"), "unknown method"),
        (("--method", "scalar,scalar"), "named twice"),
        (("--device", "toaster"), "toaster"),
        (("--plan", "none.toml"), "none.toml"),
    ],
)
def test_options_out_of_range(
    compress_fails: Fails, options: tuple[object, ...], text: str
) -> None:
    assert text in compress_fails(*options)


def test_bits_out_of_reach_says_the_least_possible(compress_fails: Fails) -> None:
    message = compress_fails("--bits", 0.2)
    assert "0.2" in message
    assert "at least" in message or "least" in message


def test_plan_files(compress_fails: Fails, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[[layer")
    assert "plan.toml" in compress_fails("--plan", plan)
    plan.write_text('[layers."nowhere"]\nmethod = "scalar"\nbits = 8\n')
    assert "plan.toml" in compress_fails("--plan", plan)
    assert "exclude each other" in compress_fails("--plan", plan, "--bits", 2)
    assert "exclude each other" in compress_fails("--plan", plan, "--set", "group=4")
    assert "exclude each other" in compress_fails("--plan", plan, "--method", "scalar")


def test_native_engine(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name of the library is another one there.
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "not installed" in fails("library-path")
    message = fails("eval", model, "--data", data, "--labels", f"{data}:y", "--engine", "native")
    assert "native library is not installed" in message


def test_eval_options(model: Path, data: Path) -> None:
    base = ("eval", model, "--data", f"{data}:x", "--layout", "nhwc")
    assert "labels, a float network, or both" in fails(*base)
    assert "number of samples" in fails(*base, "--labels", f"{data}:y", "--samples", 0)
    assert "no such array" in fails(*base, "--labels", f"{data}:z")


# Output


def test_output_folder(compress_fails: Fails, model: Path, tmp_path: Path) -> None:
    assert "does not exist" in compress_fails(output=tmp_path / "none" / "small.onnx")
    assert "does not exist" in compress_fails(output=model / "small.onnx")
    assert "is a folder" in compress_fails(output=tmp_path)
    assert "overwrite the input" in compress_fails(output=model)


def test_output_folder_without_write_access(
    compress_fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.mkstemp", refuse(errno.EACCES))
    message = compress_fails()
    assert "not writable" in message
    assert "Permission denied" in message


@pytest.mark.parametrize("command", ["eval", "inspect", "bench", "methods", "compress"])
def test_json_is_checked_before_the_work(
    command: str, model: Path, tmp_path: Path, out: Path
) -> None:
    options: dict[str, tuple[object, ...]] = {
        "eval": (model, "--data", "none.npz"),
        "compress": (model, "-o", out, "--calib", "none.npz"),
        "methods": (),
    }
    message = fails(command, *options.get(command, (model,)), "--json", tmp_path / "no" / "a.json")
    assert "output folder does not exist" in message


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(
    compress_fails: Fails, monkeypatch: pytest.MonkeyPatch, call: str, out: Path
) -> None:
    monkeypatch.setattr(os, call, refuse(errno.ENOSPC))
    assert "No space left" in compress_fails()


def test_full_disk_keeps_the_previous_file(
    model: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.write_bytes(b"previous")
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    fails("compress", model, "-o", out, "--calib", f"{data}:x", "--layout", "nhwc")
    assert out.read_bytes() == b"previous"


def test_interrupt_says_how_to_go_on(
    model: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subbyte.compression.compress", interrupt)
    arguments = ["compress", model, "-o", out, "--calib", f"{data}:x", "--layout", "nhwc"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 130
    assert result.stderr == "interrupted: the same command continues where this one stopped\n"
    assert not out.exists()


def test_our_own_bugs_keep_their_traceback(
    model: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subbyte.compression.compress", lambda *_, **__: 1 // 0)
    arguments = ["compress", model, "-o", out, "--calib", f"{data}:x", "--layout", "nhwc"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, ZeroDivisionError)
