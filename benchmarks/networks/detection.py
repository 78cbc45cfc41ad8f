"""Single-shot detectors: decoding of raw maps, suppression of overlaps, mean average precision.

Boxes are [left, top, right, bottom], relative to the image (0 to 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCORE_FLOOR = 0.005
SUPPRESSION_IOU = 0.45
MATCH_IOU = 0.5
RESAMPLES = 200


@dataclass(frozen=True)
class Head:
    """One raw map of a YOLOv3 detector: anchor sizes in pixels and darknet's scale_x_y."""

    anchors: tuple[tuple[int, int], ...]
    scale_xy: float


@dataclass(frozen=True)
class Boxes:
    """Boxes [B, 4] of one image, a class [B] and a score [B] each (1 for the labelled ones)."""

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), by the form that overflows nowhere."""
    return (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)


def to_corners(boxes: Floats) -> Floats:
    """[..., (centre x, centre y, width, height)] to [..., (left, top, right, bottom)]."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def decode(raw: Floats, head: Head, image_size: int) -> tuple[Floats, Floats]:
    """Boxes [A * h * w, 4] and class scores [A * h * w, C] of one map.

    ``raw`` [A * (5 + C), h, w] holds tx, ty, tw, th, objectness and classes per anchor:
    centre = (sigmoid(t) * s - (s - 1) / 2 + cell) / (w or h), size = exp(t) * anchor /
    image_size, score = sigmoid(objectness) * sigmoid(class).
    """
    height, width = raw.shape[1:]
    maps = raw.reshape(len(head.anchors), -1, height, width)
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)))
    s = head.scale_xy
    centre = (sigmoid(maps[:, :2]) * s - (s - 1) / 2 + cells) / np.array(
        [width, height], np.float32
    ).reshape(2, 1, 1)
    anchors = np.array(head.anchors, np.float32).reshape(-1, 2, 1, 1)
    size = np.exp(maps[:, 2:4]) * anchors / image_size
    scores = sigmoid(maps[:, 4:5]) * sigmoid(maps[:, 5:])
    boxes = np.moveaxis(np.concatenate([centre, size], axis=1), 1, -1).reshape(-1, 4)
    return to_corners(boxes.astype(np.float32)), np.moveaxis(scores, 1, -1).reshape(
        len(boxes), -1
    ).astype(np.float32)


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union [A, B] of boxes [A, 4] and [B, 4]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=-1) for x in (a, b))
    union = area_a[:, None] + area_b[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(corners: Floats, scores: Floats) -> Boxes:
    """Greedy suppression, class by class, of boxes [B, 4] with scores [B, C].

    Keeps scores over ``SCORE_FLOOR``; a kept box removes those of its class that overlap
    it by more than ``SUPPRESSION_IOU``.
    """
    alive = scores.max(axis=1, initial=0) > SCORE_FLOOR
    corners, scores = corners[alive], scores[alive]
    overlaps = iou(corners, corners) > SUPPRESSION_IOU
    rows: list[int] = []
    classes: list[int] = []
    for c in np.flatnonzero(scores.max(axis=0, initial=0) > SCORE_FLOOR):
        removed = scores[:, c] <= SCORE_FLOOR
        for row in np.argsort(-scores[:, c], kind="stable"):
            if not removed[row]:
                rows.append(int(row))
                classes.append(int(c))
                removed |= overlaps[row]
    picked = np.array(rows, np.int64)
    labels = np.array(classes, np.int64)
    return Boxes(corners[picked], labels, scores[picked, labels])


def detect(raws: Sequence[Floats], heads: Sequence[Head], image_size: int) -> Boxes:
    """The detections of one image from the raw maps of all heads."""
    decoded = [decode(raw, head, image_size) for raw, head in zip(raws, heads, strict=True)]
    return suppress(
        np.concatenate([corners for corners, _ in decoded]),
        np.concatenate([scores for _, scores in decoded]),
    )


def average_precision(correct: NDArray[np.bool_], positives: int) -> float:
    """Area under the precision-recall curve, precision made non-increasing (all points).

    ``correct``: for each detection, highest score first, whether it is right;
    ``positives``: number of labelled boxes.
    """
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[correct].sum() / positives)


@dataclass(frozen=True)
class Matched:
    """One class in one image: scores of its detections, best first, which of them are right,
    and how many boxes are labelled."""

    scores: Floats
    correct: NDArray[np.bool_]
    positives: int


def mean_average_precision(detected: Sequence[Boxes], labelled: Sequence[Boxes]) -> float:
    """Mean over the labelled classes of the average precision at IoU 0.5, in percent."""
    return _mean_precision(_matches(detected, labelled))


def error_of_change(
    before: Sequence[Boxes], after: Sequence[Boxes], labelled: Sequence[Boxes]
) -> float:
    """Standard error of the change in mean average precision, in points: its standard deviation
    over `RESAMPLES` sets of as many images, drawn with replacement (bootstrap)."""
    pairs = list(zip(_matches(before, labelled), _matches(after, labelled), strict=True))
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(RESAMPLES):
        drawn = [pairs[i] for i in rng.integers(len(pairs), size=len(pairs))]
        changes.append(
            _mean_precision([a for _, a in drawn]) - _mean_precision([b for b, _ in drawn])
        )
    return float(np.std(changes, ddof=1))


def _matches(detected: Sequence[Boxes], labelled: Sequence[Boxes]) -> list[dict[int, Matched]]:
    """By class, for every image."""
    classes = np.unique(np.concatenate([image.classes for image in labelled]))
    return [
        {int(c): _matched(found, truth, int(c)) for c in classes}
        for found, truth in zip(detected, labelled, strict=True)
    ]


def _matched(found: Boxes, truth: Boxes, c: int) -> Matched:
    wanted, mine = truth.corners[truth.classes == c], found.classes == c
    order = np.argsort(-found.scores[mine], kind="stable")
    correct = np.array(_match(found.corners[mine][order], wanted), bool)
    return Matched(found.scores[mine][order], correct, len(wanted))


def _mean_precision(images: Sequence[dict[int, Matched]]) -> float:
    """In percent, over the classes that are labelled in one of the images."""
    precisions = []
    for c in images[0]:
        matched = [image[c] for image in images]
        positives = sum(each.positives for each in matched)
        if positives:
            ranked = np.argsort(-np.concatenate([m.scores for m in matched]), kind="stable")
            correct = np.concatenate([m.correct for m in matched])[ranked]
            precisions.append(average_precision(correct, positives))
    return 100 * float(np.mean(precisions))


def _match(found: Floats, wanted: Floats) -> list[bool]:
    """For each detection, best first: does it find a labelled box not found before?"""
    if len(wanted) == 0:
        return [False] * len(found)
    taken = np.zeros(len(wanted), bool)
    result = []
    for row in iou(found, wanted):
        best = int(row.argmax())
        hit = bool(row[best] >= MATCH_IOU and not taken[best])
        taken[best] |= hit
        result.append(hit)
    return result
