"""Semantic segmentation: confusion matrix and mean intersection over union."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Pixel counts: row is the label, column the prediction.

    Pixels whose label is ``classes`` or more (void) do not count; a prediction of
    ``classes`` or more is wrong for every class, so it counts in a last, extra column:
    the result is [classes, classes + 1].
    """
    valid = labels < classes
    row = labels[valid].astype(np.int64)
    column = np.minimum(predicted[valid].astype(np.int64), classes)
    counts = np.bincount(row * (classes + 1) + column, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Mean over classes of TP / (TP + FP + FN), in percent; absent classes do not count."""
    classes = len(counts)
    hits = np.diagonal(counts)
    union = counts.sum(axis=1) + counts[:, :classes].sum(axis=0) - hits
    present = union > 0
    return 100 * float(np.mean(hits[present] / union[present]))
