"""Folders of images and recorded preprocessing through the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import subbyte
from subbyte.cli.app import app
from subbyte.data import ImageOptions, Preprocessing
from subbyte.runtime.metadata import recorded_preprocessing
from tests import tiny

CLASSES = ("cat", "dog", "emu", "fox")


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, 24 images of 6 x 6 in four class folders, and the same as arrays."""
    root = tmp_path_factory.mktemp("images")
    tiny.save(tiny.classifier(), root / "net.onnx")
    pixels = tiny.images(24)
    for number, image in enumerate(pixels):
        path = root / "photos" / CLASSES[number % 4] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    names = sorted((root / "photos").rglob("*.png"))
    order = [int(path.stem) for path in names]
    np.savez(root / "same.npz", x=pixels[order], y=np.array(order) % 4)
    preset = ("--preset", "minus-one-to-one", "--bits", 4)
    run(
        "compress",
        root / "net.onnx",
        "-o",
        root / "small.onnx",
        "--calib",
        root / "photos",
        *preset,
    )
    return root


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_file_records_its_preprocessing(folder: Path) -> None:
    expected = Preprocessing(127.5, (1.0,), images=ImageOptions((6, 6), color="rgb"))
    assert recorded_preprocessing(folder / "small.onnx") == expected
    text = {e.key: e.value for e in onnx.load(folder / "small.onnx").metadata_props}
    assert json.loads(text["subbyte.preprocessing"])["preset"] == "minus-one-to-one"


def test_python_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    subbyte.compress(
        folder / "net.onnx",
        tmp_path / "a.onnx",
        folder / "photos",
        preprocessing="minus-one-to-one",
        bits=4.0,
    )
    assert (tmp_path / "a.onnx").read_bytes() == (folder / "small.onnx").read_bytes()


def test_arrays_and_a_function_are_coded_alike(folder: Path, tmp_path: Path) -> None:
    arrays, function = tmp_path / "arrays.onnx", tmp_path / "function.onnx"
    (tmp_path / "samples.py").write_text(
        f"import numpy\ndef pixels():\n    return numpy.load({str(folder / 'same.npz')!r})['x']\n"
    )
    common = ("--preset", "minus-one-to-one", "--layout", "nhwc", "--bits", 4)
    run(
        "compress",
        folder / "net.onnx",
        "-o",
        arrays,
        "--calib",
        f"{folder / 'same.npz'}:x",
        *common,
    )
    calib = f"{tmp_path / 'samples.py'}:pixels"
    run("compress", folder / "net.onnx", "-o", function, "--calib", calib, *common)
    assert arrays.read_bytes() == function.read_bytes()


def test_eval_of_class_folders_needs_no_preprocessing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "eval.json"
    common = ("--float-network", folder / "net.onnx", "--json", target)
    said = run(
        *("eval", folder / "small.onnx", "--data", folder / "photos", "--labels", "folders"),
        *common,
    )
    assert "note" not in said.stderr
    found = read(target)
    assert found["n"] == 24
    run(
        *("eval", folder / "small.onnx", "--data", f"{folder}/same.npz:x"),
        *("--labels", f"{folder}/same.npz:y", "--layout", "nhwc", *common),
    )
    for key, value in read(target).items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_fewer_samples_are_of_all_classes(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "eval.json"
    command = ("eval", folder / "small.onnx", "--data", folder / "photos", "--labels", "folders")
    run(*command, "--samples", 16, "--json", target)
    assert read(target)["n"] == 16


def test_options_override_the_record_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "eval.json"
    command = ("eval", folder / "small.onnx", "--data", folder / "photos")
    command += ("--float-network", folder / "net.onnx", "--json", target)
    said = run(*command, "--input-scale", 255, "--color", "bgr")
    assert "note: scale 255 instead of 127.5, image color bgr instead of rgb" in said.stderr
    assert "note" not in run(*command, "--preset", "minus-one-to-one", "--color", "rgb").stderr
    said = run(*command, "--preset", "imagenet")
    assert "scale 255 instead of 127.5, mean 0.485,0.456,0.406 instead of 1" in said.stderr
    assert "image crop 0.875 instead of 1" in said.stderr


def test_report_and_tune_need_no_preprocessing(folder: Path, tmp_path: Path) -> None:
    data = ("--data", folder / "photos", "--labels", "folders")
    run(
        *("report", folder / "small.onnx", "--float-network", folder / "net.onnx", *data),
        *("-o", tmp_path / "report.json", "--format", "json", "--runs", 1),
    )
    assert read(tmp_path / "report.json")["scores"] is not None
    tuned = tmp_path / "tuned.onnx"
    run(
        *("tune", folder / "small.onnx", "--float-network", folder / "net.onnx", "--steps", 2),
        *("--data", folder / "photos", "-o", tuned, "--json", tmp_path / "tune.json"),
    )
    assert read(tmp_path / "tune.json")["loss_before"] < 1
    assert recorded_preprocessing(tuned) == recorded_preprocessing(folder / "small.onnx")
    run("tune", folder / "small.onnx", *data, "--steps", 2, "-o", tuned)
    run("inline", folder / "small.onnx", "-o", tmp_path / "inline.onnx")
    inlined = recorded_preprocessing(tmp_path / "inline.onnx")
    assert inlined == recorded_preprocessing(folder / "small.onnx")


def test_plan_and_explore_take_images(folder: Path, tmp_path: Path) -> None:
    common = ("--calib", folder / "photos", "--preset", "zero-to-one", "--bits", 4)
    run("plan", folder / "net.onnx", "-o", tmp_path / "plan.toml", *common)
    run("explore", folder / "net.onnx", "-o", tmp_path / "points", *common, "--no-latency")
    (network,) = (tmp_path / "points").glob("*.onnx")
    recorded = recorded_preprocessing(network)
    assert recorded is not None
    assert recorded.preset == "zero-to-one"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing says which values the model takes"),
        (
            ("--preset", "imagenet", "--input-scale", 1),
            "--preset and --input-scale exclude each other",
        ),
        (("--preset", "zero-to-one", "--color", "gray", "--crop", 2), "crop out of range"),
        (("--preset", "zero-to-one", "--image-size", 7), "image size does not fit"),
        (("--preset", "zero-to-one", "--resize", "pad", "--crop", "0.5"), "exclude each other"),
    ],
)
def test_options_that_do_not_fit(
    folder: Path, tmp_path: Path, options: tuple[Any, ...], message: str
) -> None:
    target = tmp_path / "a.onnx"
    command = ("compress", folder / "net.onnx", "-o", target, "--calib", folder / "photos")
    said = run(*command, *options, code=2)
    assert message in said.output
    assert not target.exists()


def test_pad_has_no_crop_even_of_a_preset(folder: Path, tmp_path: Path) -> None:
    common = ("--calib", folder / "photos", "--bits", 4, "--preset", "imagenet", "--resize", "pad")
    run("plan", folder / "net.onnx", "-o", tmp_path / "plan.toml", *common)


def test_data_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    command = ("eval", folder / "small.onnx", "--data", folder / "photos")
    said = run(*command[:-1], f"{command[-1]}:x", "--labels", "folders", code=2)
    assert "photos:x" in said.output
    (tmp_path / "classes.txt").write_text("cat 0\ndog 1\nemu 2\nfox 9\n")
    said = run(*command, "--labels", tmp_path / "classes.txt", code=2)
    assert "label out of range: expected 0 to 3" in said.output
    said = run(*command, "--labels", "folders", "--label-offset", 1, code=2)
    assert "expected 3 class folders; or --labels FILE.txt" in said.output


def test_one_image_is_no_folder(folder: Path, tmp_path: Path) -> None:
    image = next((folder / "photos").rglob("*.png"))
    said = run("compress", folder / "net.onnx", "-o", tmp_path / "a", "--calib", image, code=2)
    assert "expected a folder of images" in said.output
