"""The networks: where they lie, how they are fed, and what is measured on them.

One row per network; the data folder's own README files are the source of every setting
and of the published float figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.networks import datasets
from benchmarks.networks.datasets import Divide, Split
from benchmarks.networks.detection import Head
from subbyte.data import Preprocessing

Task = Literal["classification", "detection", "segmentation"]

METRICS: dict[Task, str] = {
    "classification": "top-1",
    "detection": "mAP50",
    "segmentation": "mIoU",
}


@dataclass(frozen=True)
class NetworkRow:
    """One network of the data folder.

    ``load`` takes the data folder and how to divide samples that come as one set (sets
    that come divided ignore it). ``published``: the float metric on all test samples.
    ``calibrated_on`` and ``tested_on`` are for readers of the tables.
    """

    name: str
    model: str
    task: Task
    load: Callable[[Path, Divide], Split]
    published: float
    calibrated_on: str
    tested_on: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    samples: int | None = None
    heads: tuple[Head, ...] = ()


_IMAGENET = Preprocessing(255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "nhwc")
_RAW_IMAGE = Preprocessing(layout="nhwc")


def _cifar10(name: str, model: str, published: float, preprocessing: Preprocessing) -> NetworkRow:
    return NetworkRow(
        name,
        model,
        "classification",
        lambda data, _: datasets.cifar10(data),
        published,
        "1,000 of CIFAR-10's training images",
        "2,880 lossless CIFAR-10 test images",
        preprocessing,
        samples=1000,
    )


def _imagenet(
    name: str, published: float, preprocessing: Preprocessing, offset: int = 0
) -> NetworkRow:
    return NetworkRow(
        name,
        f"imagenet_nets/{name}.onnx",
        "classification",
        partial(_load_imagenet, offset=offset),
        published,
        "250 ImageNet images",
        "250 other ImageNet images",
        preprocessing,
    )


def _load_imagenet(data: Path, divide: Divide, offset: int) -> Split:
    return datasets.imagenet(data, divide, offset)


def _yolo(name: str, variant: str, published: float, heads: tuple[Head, ...]) -> NetworkRow:
    return NetworkRow(
        name,
        f"detector_yolo_nano/MobileNetV2-YOLOv3-Nano-{variant}.onnx",
        "detection",
        lambda data, divide: datasets.coco(data, divide, voc_classes=variant == "voc"),
        published,
        "64 COCO images",
        "64 other COCO images",
        Preprocessing(255, layout="nhwc"),
        heads=heads,
    )


NETWORKS: dict[str, NetworkRow] = {
    row.name: row
    for row in (
        _cifar10("resnet20", "cifar10_resnet/resnet20.onnx", 93.75, _IMAGENET),
        _cifar10("resnet32", "cifar10_resnet/resnet32.onnx", 94.76, _IMAGENET),
        _cifar10("densenet40", "cifar10_densenet40/densenet40_k12.onnx", 95.66, _RAW_IMAGE),
        _cifar10("resnet8", "cifar10_resnet8/resnet8.onnx", 90.62, _RAW_IMAGE),
        _cifar10("resnet_mid", "cifar10_resnet8/resnet_mid.onnx", 93.09, _RAW_IMAGE),
        _imagenet("mobilenet_v1_025", 50.2, _IMAGENET),
        _imagenet("mobilenet_v2_100", 86.4, Preprocessing(127.5, (1.0,), (), "nhwc"), offset=1),
        _yolo(
            "yolo_nano_coco",
            "coco",
            35.15,
            (
                Head(((115, 74), (119, 199), (243, 238)), 1.1),
                Head(((12, 18), (37, 49), (52, 132)), 1.05),
            ),
        ),
        _yolo(
            "yolo_nano_voc",
            "voc",
            29.66,
            (
                Head(((189, 126), (137, 236), (265, 259)), 1.1),
                Head(((26, 48), (67, 84), (72, 175)), 1.05),
            ),
        ),
        NetworkRow(
            "espnet",
            "segmentation_espnet/espnet_camvid.onnx",
            "segmentation",
            lambda data, _: datasets.camvid(data),
            57.08,
            "32 of CamVid's training images",
            "117 CamVid test images",
            Preprocessing(
                1.0,
                (110.33103, 108.40886, 105.03319),
                # The published preprocessing divides by std and then by 255.
                (72.12571 * 255, 72.69075 * 255, 69.90435 * 255),
                "nhwc",
            ),
            samples=32,
        ),
        NetworkRow(
            "kwt1",
            "kws_transformer/kwt1.onnx",
            "classification",
            datasets.speech_features,
            92.4,
            "249 clips of Speech Commands",
            "250 other clips",
        ),
        NetworkRow(
            "dscnn",
            "kws_dscnn/dscnn.onnx",
            "classification",
            datasets.speech_mfcc,
            90.6,
            "249 clips of Speech Commands",
            "250 other clips",
        ),
    )
}
