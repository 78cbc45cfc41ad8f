"""Mean intersection over union on label maps small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.networks.segmentation import confusion, mean_iou


def test_mean_iou_by_hand() -> None:
    labels = np.array([[0, 0, 1, 1]])
    predicted = np.array([[0, 1, 1, 1]])
    # Class 0: 1 of 2 in the union; class 1: 2 of 3.
    assert mean_iou(confusion(predicted, labels, 2)) == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)


def test_void_labels_do_not_count() -> None:
    labels = np.array([0, 1, 2, 2])
    predicted = np.array([0, 1, 0, 1])
    assert mean_iou(confusion(predicted, labels, 2)) == 100


def test_predicting_void_is_an_error_of_the_labelled_class_only() -> None:
    labels = np.array([0, 0, 1])
    predicted = np.array([0, 2, 1])
    assert mean_iou(confusion(predicted, labels, 2)) == pytest.approx(100 * (1 / 2 + 1) / 2)


def test_an_absent_class_does_not_count() -> None:
    labels = np.array([0, 0])
    predicted = np.array([0, 0])
    assert mean_iou(confusion(predicted, labels, 3)) == 100


def test_counts_of_parts_add_up() -> None:
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 5, (2, 4, 6, 6))
    whole = confusion(predicted, labels, 4)
    parts = [confusion(p, y, 4) for p, y in zip(predicted, labels, strict=True)]
    assert (np.sum(parts, axis=0) == whole).all()
