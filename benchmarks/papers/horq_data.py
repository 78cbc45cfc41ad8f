"""MNIST and CIFAR-10 as training and test tensors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

HELD_OUT = 45_000
"""The first training image of CIFAR-10 that settings are chosen by."""


@dataclass(frozen=True)
class EvaluationSet:
    """Images float [N, C, H, W], labels int64 [N]; ``balanced``: every class counts the same."""

    images: Tensor
    labels: Tensor
    balanced: bool = False

    def accuracy(self, predicted: Tensor) -> float:
        """Percent of predicted labels [N] that are right."""
        right = (predicted == self.labels).double()
        if not self.balanced:
            return 100 * float(right.mean())
        rates = [float(right[self.labels == label].mean()) for label in self.labels.unique()]
        return 100 * float(np.mean(rates))


@dataclass(frozen=True)
class Task:
    """Training images uint8 [N, C, H, W] with labels, and test sets, the one to report first.

    ``shift`` pixels of random translation and ``flip``: what training does to an image.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    tests: dict[str, EvaluationSet]
    shift: int
    flip: bool

    def normal(self, images: Tensor) -> Tensor:
        """Normalised float32 of uint8 images."""
        return (images.float() - self.mean) / self.std

    def batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Training images, each moved and flipped at random, and their labels."""
        images = self.images[index]
        if self.shift:
            # One translation a batch for each half: cheap, and still new every epoch.
            halves = images.chunk(2)
            moved = []
            for half in halves:
                by = torch.randint(-self.shift, self.shift + 1, (2,), generator=generator)
                moved.append(translate(half, int(by[0]), int(by[1])))
            images = torch.cat(moved)
        if self.flip:
            flipped = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return self.normal(images), self.labels[index]


def translate(images: Tensor, down: int, right: int) -> Tensor:
    """Images [N, C, H, W] moved by whole pixels, 0 where nothing comes in."""
    moved = torch.zeros_like(images)
    height, width = images.shape[2:]
    target = moved[:, :, max(0, down) : height + down, max(0, right) : width + right]
    source = images[:, :, max(0, -down) : height - down, max(0, -right) : width - right]
    target.copy_(source)
    return moved


def mnist(data: Path, images: int) -> Task:
    """The first ``images`` of the training set; all 10,000 test images."""
    with np.load(data / "mnist" / "mnist.npz") as z:
        train = torch.from_numpy(z["x_train"][:images])[:, None]
        labels = torch.from_numpy(z["y_train"][:images].astype(np.int64))
        test, test_labels = torch.from_numpy(z["x_test"])[:, None], _labels(z["y_test"])
    return _task(train, labels, {"test": (test, test_labels, False)}, shift=2, flip=False)


def cifar10(data: Path, images: int) -> Task:
    """The first ``images`` training images in their JPEG form; three test sets.

    Lossless: 2,880 images of unlike classes (so each class counts the same), and the first
    1,000 of the official order; JPEG: 10,000, of the form that was trained on.
    """
    with np.load(data / "cifar10" / "cifar10_jpeg.npz") as z:
        train = _decode(z["train_jpeg"], z["train_off"][: images + 1])
        labels = _labels(z["y_train"][:images])
        jpeg, jpeg_labels = _decode(z["test_jpeg"], z["test_off"]), _labels(z["y_test"])
    with np.load(data / "cifar10" / "cifar10_lossless.npz") as z:
        test, test_labels = _channels_first(z["x_test"]), _labels(z["y_test"])
        first = torch.from_numpy(z["idx_test"] < 1000)
    tests = {
        "lossless_2880_balanced": (test, test_labels, True),
        "lossless_first_1000": (test[first], test_labels[first], False),
        "jpeg_10000": (jpeg, jpeg_labels, False),
    }
    return _task(train, labels, tests, shift=3, flip=True)


def held_out(data: Path, images: int) -> Task:
    """As `cifar10`, to choose settings by: measured on training images `HELD_OUT` to 49,999."""
    with np.load(data / "cifar10" / "cifar10_jpeg.npz") as z:
        train = _decode(z["train_jpeg"], z["train_off"][: images + 1])
        others = _decode(z["train_jpeg"], z["train_off"][HELD_OUT:])
        labels = _labels(z["y_train"])
    tests = {"held_out": (others, labels[HELD_OUT:], False)}
    return _task(train, labels[: len(train)], tests, shift=3, flip=True)


TASKS = {"mnist": mnist, "cifar10": cifar10}


def _task(
    train: Tensor,
    labels: Tensor,
    tests: dict[str, tuple[Tensor, Tensor, bool]],
    *,
    shift: int,
    flip: bool,
) -> Task:
    values = train[:10_000].float()
    mean, std = (f(values, (0, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
    sets = {
        name: EvaluationSet((images.float() - mean) / std, found, balanced)
        for name, (images, found, balanced) in tests.items()
    }
    return Task(train, labels, mean, std, sets, shift, flip)


def _labels(labels: NDArray[Any]) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))


def _channels_first(images: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _decode(blob: NDArray[Any], offsets: NDArray[Any]) -> Tensor:
    files = (blob[a:b].tobytes() for a, b in pairwise(offsets))
    return _channels_first(np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]))
