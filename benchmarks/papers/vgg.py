"""A small VGG for CIFAR-10, trained here, for the data folder has none.

Six 3x3 convolutions with batch normalization in three pairs, each pair with a max pooling
behind it, and two linear layers: the paper's form at a size that a CPU trains in minutes.
Trained on CIFAR-10's JPEG form as the float network of `benchmarks.papers.soft_hard` is,
tested on the lossless images like the other networks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.networks import datasets
from benchmarks.networks.catalog import NetworkRow
from benchmarks.papers import soft_hard
from subbyte.data import Preprocessing
from subbyte.files import write_atomic
from subbyte.graph.load.torch_export import export_module

WIDTHS = (24, 48, 96)
HIDDEN = 256
EPOCHS = 4


def vgg() -> nn.Sequential:
    """VGG of `WIDTHS` for [N, 3, 32, 32]."""
    layers: list[nn.Module] = []
    inputs = 3
    for width in WIDTHS:
        layers += [*_conv(inputs, width), *_conv(width, width), nn.MaxPool2d(2)]
        inputs = width
    hidden = [nn.Linear(inputs * 16, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(HIDDEN, 10))


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def trained(
    folder: Path,
    images: Callable[[], soft_hard.Images] = soft_hard.cifar10,
    epochs: int = EPOCHS,
) -> Path:
    """The trained network as an ONNX file in ``folder``; trained if it is not there."""
    path = folder / "vgg.onnx"
    if not path.exists():
        row = soft_hard.Row("vgg", images, vgg, epochs, mirror=True)
        network, _ = soft_hard.train_float(row, row.load())
        model = export_module(network, torch.zeros(2, 3, 32, 32))
        write_atomic(path, model.SerializeToString())
    return path


def network_row(folder: Path) -> NetworkRow:
    """The network as one of the catalog's, but for a published metric: it has none."""
    return NetworkRow(
        "vgg",
        str(trained(folder).resolve()),
        "classification",
        lambda data, _: datasets.cifar10(data),
        float("nan"),
        "1,000 of CIFAR-10's training images",
        "2,880 lossless CIFAR-10 test images",
        Preprocessing(255, layout="nhwc"),
        samples=1000,
    )
