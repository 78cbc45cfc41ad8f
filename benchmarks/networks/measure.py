"""What a network reaches on its test samples, in plain onnxruntime if not told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.networks.catalog import NetworkRow
from benchmarks.networks.datasets import Array, Split
from benchmarks.networks.detection import Boxes, detect, mean_average_precision
from benchmarks.networks.segmentation import confusion, mean_iou
from subbyte import load
from subbyte.runtime import Engine

_BATCH = 8
_CAMVID_CLASSES = 11
_YOLO_SIZE = 320


def metric(row: NetworkRow, model: Path, split: Split, engine: Engine | None = "portable") -> float:
    """The metric of the row's task on the test samples, in percent."""
    if row.task == "detection":
        return mean_average_precision(detections(row, model, split, engine), split.targets)
    batches = _outputs(row, model, split.test, engine)
    labels = (split.targets[at : at + _BATCH] for at in range(0, len(split.targets), _BATCH))
    if row.task == "segmentation":
        counts = [
            confusion(logits.argmax(axis=1), part, _CAMVID_CLASSES)
            for (logits,), part in zip(batches, labels, strict=True)
        ]
        return mean_iou(np.sum(counts, axis=0))
    right = [logits.argmax(axis=1) == part for (logits,), part in zip(batches, labels, strict=True)]
    return 100 * float(np.mean(np.concatenate(right)))


def _outputs(
    row: NetworkRow, path: Path, samples: Array, engine: Engine | None
) -> Iterator[tuple[Array, ...]]:
    """All outputs of the model, batch by batch."""
    model = load(path, engine=engine)
    for start in range(0, len(samples), _BATCH):
        batch = samples[start : start + _BATCH]
        if row.preprocessing.layout == "nhwc":
            batch = np.moveaxis(batch, -1, 1)
        result = model.run(row.preprocessing.apply(batch))
        yield result if isinstance(result, tuple) else (result,)


def detections(
    row: NetworkRow, model: Path, split: Split, engine: Engine | None = "portable"
) -> list[Boxes]:
    """What a detector finds on each of the test samples."""
    return [
        detect([raw[image] for raw in maps], row.heads, _YOLO_SIZE)
        for maps in _outputs(row, model, split.test, engine)
        for image in range(len(maps[0]))
    ]
