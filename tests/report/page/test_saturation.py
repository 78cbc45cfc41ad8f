from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from subbyte.data import as_samples
from subbyte.graph.load.model_file import read_input_specs
from subbyte.graph.module.graph_module import GraphModule
from subbyte.report.coded import coded_layers
from subbyte.report.page.saturation import Carried, carried_tensors, clipped
from subbyte.report.stored import read_stored
from tests.graph.coding import values_of
from tests.report.reported import Pair, make_pair


def tensors_of(pair: Pair) -> list[Carried]:
    model = read_stored(pair.model)
    return carried_tensors(model, pair.model, pair.network, coded_layers(model, pair.model))


def test_tensors_are_named_by_what_writes_and_reads_them(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    found = tensors_of(pair)
    assert [(t.value, t.writer, t.readers) for t in found] == [
        ("input", "", ("conv1",)),
        ("r1", "conv1", ("conv2",)),
        ("r2", "conv2", ()),
        ("f", "", ("head",)),
    ]
    assert [t.zero for t in found] == [118, 0, 0, 0]
    assert found[0].low == pytest.approx(-118 * found[0].scale)
    # The samples are of both signs, and all are carried.
    assert found[0].low <= pair.samples.min() < pair.samples.max() <= found[0].high
    assert found[1].low == 0
    assert found[1].high == pytest.approx(255 * found[1].scale)


@pytest.mark.parametrize("tight", [1.0, 0.4])
def test_share_of_clipped_values(tmp_path: Path, tight: float) -> None:
    pair = make_pair(tmp_path, "scalar", tight)
    tensors = tensors_of(pair)
    samples = as_samples(pair.samples, read_input_specs(pair.reference))
    rows = clipped(pair.network, tensors, samples)
    values = values_of(GraphModule(pair.network).eval(), {"input": pair.samples})
    assert [row["writer"] for row in rows] == ["", "conv1", "conv2", ""]
    for tensor, row in zip(tensors, rows, strict=True):
        value = values[tensor.value].numpy()
        half = tensor.scale / 2
        beyond = (value > tensor.high + half) | (value < tensor.low - half)
        assert row["clipped"] == pytest.approx(100 * beyond.mean())
        assert (row["seen_low"], row["seen_high"]) == (value.min(), value.max())
    most = max(float(row["clipped"]) for row in rows)  # type: ignore[arg-type]
    assert (most > 5) == (tight < 1)


def test_values_below_a_zero_point_of_zero_do_not_count(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    samples = as_samples(pair.samples, read_input_specs(pair.reference))
    # c1 is what comes before the ReLU: half of it lies below zero.
    tensor = Carried("c1", "conv1", (), 1.0, 0)
    assert clipped(pair.network, [tensor], samples)[0]["clipped"] == 0
    signed = Carried("c1", "conv1", (), 1e-6, 128)
    assert clipped(pair.network, [signed], samples)[0]["clipped"] == pytest.approx(100, abs=0.1)


def test_float_layers_carry_nothing(tmp_path: Path) -> None:
    from subbyte.graph.write.model import write_network
    from tests import tiny

    pair = make_pair(tmp_path)
    path = tiny.save(write_network(pair.network, pair.coded), tmp_path / "floats.onnx")
    model = read_stored(path)
    assert carried_tensors(model, path, pair.network, coded_layers(model, path)) == []
    assert np.isfinite(pair.samples).all()
