"""The shapes that FFN's claim is computed from."""

import json

from benchmarks.papers import ffn_counts


def test_shapes_give_the_networks_known_sizes() -> None:
    """Weights and multiplications as published (without biases)."""
    weights = {
        name: sum(row.shape.count for row in layers())
        for name, layers in ffn_counts.NETWORKS.items()
    }
    assert weights == {"AlexNet": 60_954_656, "VGG-16": 138_344_128, "ResNet-50": 25_502_912}
    before = {row["network"]: row["multiplications_before"] for row in ffn_counts.results()}
    assert before["VGG-16"] == 15_470_264_320
    assert before["AlexNet"] == 724_406_816


def test_ranks_are_the_papers() -> None:
    ranks = {row.name: ffn_counts.rank(row) for row in ffn_counts.alexnet()}
    assert ranks == {
        "conv1": 96,
        "conv2": 128,
        "conv3": 384,
        "conv4": 192,
        "conv5": 128,
        "fc6": 3072,
        "fc7": 3072,
        "fc8": 1000,
    }


def test_the_record_is_what_the_module_computes() -> None:
    recorded = json.loads(ffn_counts.RESULT.read_text())
    assert recorded["networks"] == list(ffn_counts.results())
