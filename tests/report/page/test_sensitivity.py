from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import subbyte
from subbyte.compression import divergence as similarity
from subbyte.data import as_samples
from subbyte.errors import OptionError
from subbyte.graph.load.model_file import read_input_specs
from subbyte.graph.load.network import read_network
from subbyte.graph.weight_layout import to_onnx_layout
from subbyte.methods import decode_weight
from subbyte.report.coded import coded_layers, unpacked_weights
from subbyte.report.page.sensitivity import (
    Distance,
    Sensitivity,
    coded_network,
    file_distance,
    measure_layers,
)
from subbyte.report.stored import read_stored
from tests import tiny
from tests.report.reported import Pair, make_pair


def measured(pair: Pair) -> Sensitivity:
    coded = coded_layers(read_stored(pair.model), pair.model)
    samples = as_samples(pair.samples, read_input_specs(pair.reference))
    return measure_layers(pair.network, coded_network(pair.network, coded), coded, samples)


def outputs(pair: Pair, coded: set[str], folder: Path) -> NDArray[np.float64]:
    """What onnxruntime computes with the decoded weights of these layers in the float file."""
    model = onnx.load(pair.reference)
    for layer in pair.network.layers:
        if layer.name in coded:
            tensor = next(t for t in model.graph.initializer if t.name == layer.weight)
            weight = to_onnx_layout(layer, decode_weight(pair.coded[layer.weight]))
            tensor.CopyFrom(numpy_helper.from_array(weight.copy(), layer.weight))
    path = tiny.save(model, folder / "changed.onnx")
    return np.asarray(subbyte.load(path).run(pair.samples), np.float64)


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    a, b = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (p, q))
    return float((np.exp(a) * (a - b)).sum(1).mean())


def test_harm_is_the_divergence_of_one_changed_layer(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "scalar", bits=3)
    found = measured(pair)
    exact = outputs(pair, set(), tmp_path)
    assert found.measure == "kl"
    assert list(found.harm) == ["conv1", "conv2", "head"]
    for name, harm in found.harm.items():
        expected = divergence(exact, outputs(pair, {name}, tmp_path))
        assert harm == pytest.approx(expected, rel=1e-3)
        assert harm > 1e-6
    everything = outputs(pair, set(found.harm), tmp_path)
    assert found.total == pytest.approx(divergence(exact, everything), rel=1e-3)
    head = outputs(pair, {"head"}, tmp_path) - exact
    about_mean = exact - exact.mean(0)
    relative = np.square(head).sum() / np.square(about_mean).sum()
    assert found.error["head"] == pytest.approx(relative, rel=1e-3)


def test_more_bits_do_less_harm(tmp_path: Path) -> None:
    totals = [measured(make_pair(tmp_path, "scalar", bits=bits)).total for bits in (2, 4, 8)]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 1e-3 * totals[0]


def test_distance_of_the_file_counts_activations(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "scalar")
    samples = as_samples(pair.samples, read_input_specs(pair.reference))
    loose = file_distance(pair.network, subbyte.load(pair.model), samples)
    tight = make_pair(tmp_path, "scalar", tight=0.3)
    clipped = file_distance(tight.network, subbyte.load(tight.model), samples)
    assert measured(pair).total < loose < clipped
    floats = file_distance(pair.network, subbyte.load(pair.reference), samples)
    assert floats < 1e-9


def test_other_outputs_than_scores_count_relative_error(tmp_path: Path) -> None:
    constants = tiny.conv_weights()
    nodes = [tiny.conv("conv1", "input", "a"), tiny.conv("conv2", "a", "y")]
    kept = {k: v for k, v in constants.items() if not k.startswith("head")}
    model = tiny.build(nodes, kept, {"input": ["N", 3, 6, 6]}, {"y": ["N", 16, 6, 6]})
    reference = tiny.save(model, tmp_path / "map.onnx")
    small = tmp_path / "small.onnx"
    samples = np.random.default_rng(0).standard_normal((8, 3, 6, 6)).astype(np.float32)
    subbyte.compress(reference, small, samples, bits=3.0)
    network, coded = read_network(reference), coded_layers(read_stored(small), small)
    data = as_samples(samples, read_input_specs(reference))
    found = measure_layers(network, coded_network(network, coded), coded, data)
    assert found.measure == "error"
    assert 0 < found.harm["conv2"] < 1
    values = {
        name: subbyte.load(path).run(samples)
        for name, path in (("exact", reference), ("small", small))
    }
    exact, lossy = (np.asarray(values[name], np.float64) for name in ("exact", "small"))
    expected = np.square(lossy - exact).mean() / exact.var()
    distance = file_distance(network, subbyte.load(small), data)
    assert distance == pytest.approx(expected, rel=1e-4)


def test_the_distance_is_that_of_the_points_of_a_trade_off() -> None:
    """Over batches what `divergence` is of all samples at once; of several outputs the sum."""
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(12, 5, generator=generator) for _ in range(2)]
    maps = [5 + 3 * torch.randn(12, 2, 4, 4, generator=generator) for _ in range(2)]
    labels = [torch.arange(12), torch.zeros(12, dtype=torch.int64)]
    pairs = list(zip(scores, maps, labels, strict=True))
    for outputs in ((0,), (1,), (0, 1), (1, 2)):
        exact, other = (tuple(pair[i] for i in outputs) for pair in pairs)
        distance, sums = Distance(), np.zeros((1, 1))
        for first in (0, 4, 8):
            batch = [[a[first : first + 4] for a in side] for side in (exact, other)]
            sums = sums + distance.sums(*batch)
        wanted = float(similarity.divergence(exact, other))
        assert distance.of(sums) == pytest.approx(wanted, rel=1e-5)
        assert distance.measure == ("kl" if outputs == (0,) else "error")


def test_outputs_of_integers_count_where_there_are_no_others() -> None:
    """As of a network that ends in the index of the best class; they are no scores, nor is what
    has a single column."""
    labels, other = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 1])
    masks = torch.tensor([True, False]), torch.tensor([True, True])
    pairs = {
        "labels": ([labels], [other], 1 / 1.25),
        "column": ([labels[:, None]], [other[:, None]], 1 / 1.25),
        "indices": ([labels.reshape(2, 2)], [other.reshape(2, 2)], 1 / 1.25),
        "numbers": ([labels[:, None].float()], [other[:, None].float()], 1 / 1.25),
        "masks": ([masks[0]], [masks[1]], 0.5 / 0.25),
        "both": ([labels.float(), labels], [other.float(), labels], 1 / 1.25),
    }
    for name, (wanted, got, expected) in pairs.items():
        distance = Distance()
        assert distance.of(distance.sums(wanted, got)) == pytest.approx(expected), name
        assert distance.measure == "error"
        assert float(similarity.divergence(tuple(wanted), tuple(got))) == pytest.approx(expected), (
            name
        )


def test_file_of_another_network(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    coded = coded_layers(read_stored(pair.model), pair.model)
    other = tiny.classifier()
    for node in other.graph.node:
        node.name = "my " + node.name
    network = read_network(tiny.save(other, tmp_path / "other.onnx"))
    with pytest.raises(
        OptionError, match=r"no compressed form of the float network.*a layer conv1"
    ):
        coded_network(network, coded)
    wide = tiny.save(tiny.classifier(tiny.conv_weights(width=8)), tmp_path / "narrow.onnx")
    with pytest.raises(OptionError, match=r"weight .16, 9, 3. in 1 groups"):
        coded_network(read_network(wide), coded)
    # A network that goes on where the file's ends.
    some = dict(list(coded.items())[:-1])
    with pytest.raises(OptionError, match="expected no layers but the file's own, got a layer"):
        coded_network(pair.network, some)


def test_weights_of_other_nodes_do_harm_too(tmp_path: Path) -> None:
    """A table and recurrent weights, of which no layer is: their harm is in the total."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.normal(size=(60, 24)).astype(np.float32),
        "w": rng.normal(size=(1, 96, 24)).astype(np.float32) / 5,
        "r": rng.normal(size=(1, 96, 24)).astype(np.float32) / 5,
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"], "words"),
        helper.make_node("Transpose", ["words"], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "w", "r"], ["", "y"], "lstm", hidden_size=24),
    ]
    model = tiny.build(nodes, weights, {}, {"y": [1, "N", 24]})
    model.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 6]))
    reference, small = tiny.save(model, tmp_path / "net.onnx"), tmp_path / "small.onnx"
    ids = rng.integers(0, 60, (16, 6))
    subbyte.compress(reference, small, ids, bits=3.0, method="scalar", activations="float")
    network, found = read_network(reference), unpacked_weights(read_stored(small), small)
    assert set(found) == {entry.name for entry in network.unpacked}
    data = as_samples(ids, read_input_specs(reference))
    harms = measure_layers(network, coded_network(network, {}, found), {}, data, unpacked=found)
    assert set(harms.harm) == set(found)
    assert min(harms.harm.values()) > 1e-4
    whole = file_distance(network, subbyte.load(small, engine="portable"), data)
    assert harms.total == pytest.approx(whole, rel=1e-3)
    with pytest.raises(OptionError, match="expected a weight none"):
        coded_network(network, {}, found | {"none": found["words"]})


def test_layers_without_a_bias(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "only")]
    model = tiny.build(nodes, {"w": weight}, {"x": ["N", 6]}, {"y": ["N", 5]})
    reference = tiny.save(model, tmp_path / "linear.onnx")
    small = tmp_path / "small.onnx"
    samples = np.random.default_rng(1).standard_normal((16, 6)).astype(np.float32)
    subbyte.compress(reference, small, samples, bits=8.0, method="scalar")
    network, coded = read_network(reference), coded_layers(read_stored(small), small)
    data = as_samples(samples, read_input_specs(reference))
    found = measure_layers(network, coded_network(network, coded), coded, data)
    assert list(found.harm) == ["only"]
    assert found.harm["only"] == pytest.approx(found.total)
