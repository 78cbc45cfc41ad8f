"""How files are measured."""

from __future__ import annotations

import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.latency.blank import blank_model
from subbyte.compression.latency.machine import THIS_MACHINE, settled
from subbyte.graph.load.network import prepare
from subbyte.methods import EIGHT_BITS
from subbyte.runtime.library import find_library
from tests.compression.pretended import MODEL, SAMPLES


def test_a_measurement_ends_when_it_gets_no_faster() -> None:
    blocks = [3.0, 3.0, 3.0, 3.0, 2.0, 2.5, 2.0, 1.99, 2.5, 2.5, 1.0]
    assert settled(lambda: [blocks.pop(0)]) == [1.99]
    assert blocks == [1.0]


def test_a_measurement_ends_though_it_gets_faster_and_faster() -> None:
    blocks = [0.9**turn for turn in range(60)]
    assert settled(lambda: [blocks.pop(0)]) == [0.9**49]


def test_blocks_of_files_are_measured_in_turn() -> None:
    """Until none gets faster."""
    blocks = [3.0, 5.0, 2.0, 4.0, 2.0, 4.0, 2.0, 4.0, 2.0, 3.0, *([2.5, 3.5] * 5), 1.0]
    assert settled(lambda: [blocks.pop(0), blocks.pop(0)]) == [2.0, 3.0]
    assert blocks == [1.0]


@pytest.mark.skipif(find_library() is None, reason="no native library")
def test_a_file_is_measured() -> None:
    network = prepare(MODEL, "net")
    eight = {layer.weight: EIGHT_BITS for layer in network.layers}
    written = blank_model(network, eight, CompressOptions())
    found = THIS_MACHINE.measure_models([written, written], SAMPLES)
    assert len(found) == 2
    assert all(0 < seconds < 1 for seconds in found)
