"""Calibration and test arrays from the files of the data folder.

Images come out as uint8, channels last, so that files stay small and the preprocessing is
what a user would type. Calibration samples never appear among the test samples.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.networks.detection import Boxes, to_corners

Array = NDArray[Any]

_VOC_OF_COCO = {
    0: 14, 1: 1, 2: 6, 3: 13, 4: 0, 5: 5, 6: 18, 8: 3, 14: 2, 15: 7,
    16: 11, 17: 12, 18: 16, 19: 9, 39: 4, 56: 8, 57: 17, 58: 15, 60: 10, 62: 19,
}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Calibration and test samples of one network.

    ``targets`` fit the task: labels [N] (classification), `Boxes` per image (detection),
    label maps [N, H, W] (segmentation).
    """

    calibration: Array
    test: Array
    targets: Any

    def __post_init__(self) -> None:
        if len(self.test) != len(self.targets):
            raise ValueError(f"{len(self.test)} test samples, {len(self.targets)} targets")


def halves(samples: Array, targets: Any) -> Split:
    """Calibrate on the samples at odd positions, test on those at even ones.

    A sample that the set holds twice is kept out of the calibration half.
    """
    tested = {sample.tobytes() for sample in samples[::2]}
    new = [sample.tobytes() not in tested for sample in samples[1::2]]
    return Split(samples[1::2][new], samples[::2], targets[::2])


def everything(samples: Array, targets: Any) -> Split:
    """Test on all samples: for checking a float metric, never for a compressed network."""
    return Split(samples[:0], samples, targets)


Divide = Callable[[Array, Any], Split]


def cifar10(data: Path) -> Split:
    """Lossless images: 4,000 of the training set to calibrate, 2,880 of the test set."""
    with np.load(data / "cifar10" / "cifar10_lossless.npz") as z:
        return Split(z["x_train"], z["x_test"], z["y_test"].astype(np.int64))


def imagenet(data: Path, divide: Divide, offset: int = 0) -> Split:
    """Centre crops of 224; ``offset`` is 1 where output 0 is a background class."""
    with np.load(data / "imagenet_images" / "imagenet500_even.npz") as z:
        images = [_centre(image, 224) for image in _images(z["jpeg"], z["off"])]
        return divide(np.stack(images), z["label"].astype(np.int64) + offset)


def natural_images(data: Path) -> list[Image.Image]:
    """505 photographs without labels, 256 on the short side."""
    with np.load(data / "natural_images" / "bsds500.npz") as z:
        return _images(z["jpeg"], z["off"])


def coco(data: Path, divide: Divide, *, voc_classes: bool) -> Split:
    """Images resized to 320 x 320 (bilinear, aspect ratio not kept) with their boxes."""
    with np.load(data / "coco128" / "coco128_train2017.npz") as z:
        images = [
            np.asarray(image.resize((320, 320), Image.Resampling.BILINEAR))
            for image in _images(z["jpeg"], z["off"])
        ]
        rows = np.split(z["boxes"], z["box_off"][1:-1])
    boxes = [_boxes(image_rows, voc_classes=voc_classes) for image_rows in rows]
    return divide(np.stack(images), boxes)


def camvid(data: Path) -> Split:
    """Calibrate on a third of the training images, test on half of the test images; B,G,R."""
    train, _ = _camvid_part(data / "camvid" / "camvid_train.npz")
    test, labels = _camvid_part(data / "camvid" / "camvid_test_even.npz")
    return Split(train, test, labels)


def speech_features(data: Path, divide: Divide) -> Split:
    """Features [N, 98, 40] of one-second clips."""
    with np.load(data / "kws_transformer" / "kws_features_even.npz") as z:
        return divide(z["feat"].astype(np.float32), z["y"].astype(np.int64))


def speech_mfcc(data: Path, divide: Divide) -> Split:
    """MFCC [N, 1, 49, 10], from their 8-bit form."""
    with np.load(data / "kws_dscnn" / "kws01_even.npz") as z:
        values = (z["x_int8"].astype(np.float32) - z["zero_point"]) * z["scale"]
        return divide(values[:, np.newaxis].astype(np.float32), z["y"].astype(np.int64))


def _files(blob: Array, offsets: Array) -> list[bytes]:
    """The files stored one after another in ``blob``."""
    return [blob[a:b].tobytes() for a, b in pairwise(offsets)]


def _images(blob: Array, offsets: Array) -> list[Image.Image]:
    return [Image.open(io.BytesIO(file)).convert("RGB") for file in _files(blob, offsets)]


def _centre(image: Image.Image, size: int) -> Array:
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _boxes(rows: Array, *, voc_classes: bool) -> Boxes:
    classes = rows[:, 0].astype(np.int64)
    if voc_classes:
        rows = rows[np.isin(classes, list(_VOC_OF_COCO))]
        classes = np.array([_VOC_OF_COCO[int(c)] for c in rows[:, 0]], np.int64)
    return Boxes(to_corners(rows[:, 1:]), classes, np.ones(len(rows), np.float32))


def _camvid_part(path: Path) -> tuple[Array, Array]:
    with np.load(path) as z:
        images = [np.asarray(image)[..., ::-1] for image in _images(z["jpeg"], z["off"])]
        labels = [
            np.asarray(Image.open(io.BytesIO(file)))
            for file in _files(z["label_png"], z["label_off"])
        ]
    return np.stack(images), np.stack(labels)
