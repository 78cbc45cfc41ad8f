from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import subbyte
from subbyte.errors import ModelFileError
from subbyte.methods import METHODS, decode_weight
from subbyte.report.coded import coded_layers, settings
from subbyte.report.stored import read_stored
from tests import tiny
from tests.report.reported import make_pair

SETTINGS = {
    "scalar": {"bits": 8},
    "product": {"group": 4, "words": 16, "gain": 0},
    "gain": {"group": 4, "words": 16, "gain": 3},
    "ternary": {"rank": 16},
    "composite": {"planes": 4},
    "factored": {"planes": 4},
}


@pytest.mark.parametrize("method", SETTINGS)
def test_weights_come_back_as_they_were_written(tmp_path: Path, method: str) -> None:
    pair = make_pair(tmp_path, method)
    found = coded_layers(read_stored(pair.model), pair.model)
    assert list(found) == ["conv1", "conv2", "head"]
    for layer in pair.network.layers:
        weight = pair.coded[layer.weight]
        assert found[layer.name].weight.method == weight.method
        assert found[layer.name].weight.shape == weight.shape
        same = decode_weight(found[layer.name].weight) == decode_weight(weight)
        assert same.all()
        assert found[layer.name].weight.nbytes == weight.nbytes
    assert settings(found["conv2"].weight) == SETTINGS[method]
    assert set(SETTINGS[method]) <= set(METHODS[found["conv2"].weight.method].options.settings())
    bias = np.asarray(tiny.conv_weights()["conv2.bias"])
    assert np.array_equal(found["conv2"].bias, bias)


def test_float_and_inlined_files_have_none(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    assert coded_layers(read_stored(pair.reference), pair.reference) == {}
    plain = tmp_path / "plain.onnx"
    subbyte.inline(pair.model, plain)
    assert coded_layers(read_stored(plain), plain) == {}


def test_packed_array_that_is_not_stored(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    model = read_stored(pair.model)
    node = next(node for node in model.proto.graph.node if node.name == "conv2")
    node.input[1] = "elsewhere"
    with pytest.raises(ModelFileError, match=r"without its packed weight \[conv2\]: got codes"):
        coded_layers(model, pair.model)
