"""Decoding, suppression and average precision on cases small enough to do by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.networks.detection import (
    Boxes,
    Head,
    average_precision,
    decode,
    detect,
    error_of_change,
    iou,
    mean_average_precision,
    suppress,
)


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


def test_iou_of_known_boxes() -> None:
    a = np.array([[0, 0, 2, 2]], np.float32)
    b = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 0, 0]], np.float32)
    assert iou(a, b)[0].tolist() == pytest.approx([1 / 7, 1, 0, 0])


def test_decode_places_a_cell() -> None:
    """tx = ty = 0 is the middle of the cell whatever the scale; tw = log 2 doubles the anchor."""
    raw = np.full((6, 2, 4), -50, np.float32)
    raw[:, 1, 3] = [0, 0, math.log(2), 0, 50, 0]
    corners, scores = decode(raw, Head(((32, 64),), 1.1), image_size=320)
    # Row-major over the cells: row 1, column 3 of a map 4 wide.
    assert corners[7].tolist() == pytest.approx(
        [3.5 / 4 - 0.1, 1.5 / 2 - 0.1, 3.5 / 4 + 0.1, 1.5 / 2 + 0.1], abs=1e-6
    )
    assert scores[:, 0].tolist() == pytest.approx([0] * 7 + [0.5], abs=1e-6)


def test_decode_stretches_the_cell_by_its_scale() -> None:
    raw = np.full((6, 1, 1), 50, np.float32)
    raw[2:4] = 0
    corners, _ = decode(raw, Head(((32, 32),), 1.2), image_size=320)
    # sigmoid = 1: centre = 1.2 - 0.1.
    assert corners[0].tolist() == pytest.approx([1.05, 1.05, 1.15, 1.15], abs=1e-6)


def test_suppression_is_per_class_and_greedy() -> None:
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4]], np.float32)
    scores = np.array([[0.9, 0.0], [0.8, 0.7], [0.001, 0.004]], np.float32)
    kept = suppress(corners, scores)
    assert kept.classes.tolist() == [0, 1]
    assert kept.corners.tolist() == [[0, 0, 10, 10], [0, 0, 10, 9]]
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])


def test_average_precision_takes_the_envelope() -> None:
    """Right, wrong, right, right of 4: precisions 1, 3/4 (raised from 2/3), 3/4."""
    correct = np.array([True, False, True, True])
    assert average_precision(correct, positives=4) == pytest.approx((1 + 0.75 + 0.75) / 4)


def test_perfect_detections_score_100() -> None:
    truth = [boxes((0, 0, 1, 1, 3, 1), (2, 2, 3, 3, 5, 1)), boxes((0, 0, 1, 1, 3, 1))]
    assert mean_average_precision(truth, truth) == pytest.approx(100)


def test_a_second_hit_on_the_same_box_is_wrong() -> None:
    truth = [boxes((0, 0, 1, 1, 0, 1), (4, 4, 5, 5, 0, 1))]
    found = [boxes((0, 0, 1, 1, 0, 0.9), (0, 0, 1, 1, 0, 0.8), (4, 4, 5, 5, 0, 0.7))]
    # Right, wrong, right: precisions 1 and 2/3 over two labelled boxes.
    assert mean_average_precision(found, truth) == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_precision_is_averaged_over_labelled_classes_only() -> None:
    truth = [boxes((0, 0, 1, 1, 0, 1), (4, 4, 5, 5, 1, 1))]
    found = [boxes((0, 0, 1, 1, 0, 0.9), (4, 4, 5, 5, 7, 0.9))]
    assert mean_average_precision(found, truth) == pytest.approx(50)


def test_scores_rank_across_images() -> None:
    truth = [boxes((0, 0, 1, 1, 0, 1)), boxes((0, 0, 1, 1, 0, 1))]
    found = [boxes((0, 0, 1, 1, 0, 0.5)), boxes((7, 7, 8, 8, 0, 0.9), (0, 0, 1, 1, 0, 0.4))]
    # Wrong (0.9), right (0.5), right (0.4): both right ones at precision 2/3.
    assert mean_average_precision(found, truth) == pytest.approx(100 * 2 / 3)


def test_an_image_without_detections_costs_recall() -> None:
    truth = [boxes((0, 0, 1, 1, 0, 1)), boxes((0, 0, 1, 1, 0, 1))]
    assert mean_average_precision([truth[0], boxes()], truth) == pytest.approx(50)


def test_error_of_a_change_is_that_of_a_share() -> None:
    """Every third of 100 images loses its only box: recall, here the precision's mean, falls by
    34 points with the standard error of a share."""
    truth = [boxes((0, 0, 1, 1, 0, 1)) for _ in range(100)]
    found = [boxes() if i % 3 == 0 else image for i, image in enumerate(truth)]
    assert error_of_change(truth, found, truth) == pytest.approx((34 * 66 / 100) ** 0.5, rel=0.15)
    assert error_of_change(found, found, truth) == 0


def test_detect_merges_the_heads() -> None:
    raw = np.full((6, 1, 1), -50, np.float32)
    raw[4:] = 5
    raw[:4] = 0
    small, large = Head(((16, 16),), 1.0), Head(((320, 320),), 1.0)
    found = detect([raw, raw], [small, large], image_size=320)
    assert sorted(found.corners[:, 0].tolist()) == pytest.approx([0, 0.475])
