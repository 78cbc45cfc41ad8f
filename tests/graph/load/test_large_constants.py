"""Large constants beside the model: the same network, whatever counts as large."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from subbyte.errors import ModelFileError
from subbyte.graph.load.external_data import DataFolder
from subbyte.graph.load.large_constants import attach, detach
from subbyte.graph.load.network import prepare, read_network
from subbyte.graph.network import Network
from tests import tiny

# Small constants are large in these tests.
detached = partial(detach, large_bytes=16)
prepared = partial(prepare, large_bytes=16)
read = partial(read_network, large_bytes=16)


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "net.onnx"
    options = {"save_as_external_data": True, "location": "net.data", "size_threshold": 0}
    onnx.save_model(model, path, **options)
    return path


def assert_same(found: Network, expected: Network) -> None:
    constants = [network.model.graph.initializers for network in (found, expected)]
    assert constants[0].keys() == constants[1].keys()
    for name, value in constants[0].items():
        other = constants[1][name].const_value
        assert value.const_value is not None
        assert other is not None
        np.testing.assert_array_equal(value.const_value.numpy(), other.numpy())
    assert [node.op_type for node in found.model.graph] == [
        node.op_type for node in expected.model.graph
    ]


@pytest.mark.parametrize("opset", [13, 18])
def test_the_network_is_the_same(opset: int, tmp_path: Path) -> None:
    """In the model or in a file, converted to a newer operator set or not."""
    model = tiny.classifier()
    model.opset_import[0].version = opset
    path = saved(tmp_path, onnx.ModelProto.FromString(model.SerializeToString()))
    for network in (prepared(model, "net"), read(path)):
        assert_same(network, prepare(model, "net", large_bytes=1 << 30))


def test_detached_model_has_no_large_data() -> None:
    model = tiny.classifier()
    before = model.SerializeToString(deterministic=True)
    light, constants = detached(model)
    assert light.ByteSize() < 600 < sum(value.nbytes for value in constants.values())
    assert set(constants) <= {value.name for value in light.graph.input}
    assert model.SerializeToString(deterministic=True) == before
    whole = attach(ir.from_proto(light), constants)
    assert [value.name for value in whole.graph.inputs] == ["input"]
    assert constants.keys() <= whole.graph.initializers.keys()


def test_what_is_mapped_is_let_go(tmp_path: Path) -> None:
    """Each use maps the file anew: nothing is kept, and what is there now is seen."""
    path = saved(tmp_path, tiny.classifier())
    _, constants = detached(onnx.load(path, load_external_data=False), DataFolder.of(path))
    name, tensor = next(iter(constants.items()))
    assert isinstance(tensor, ir.LazyTensor), name
    first, second = tensor.numpy(), tensor.numpy()
    assert not np.shares_memory(first, second)
    assert not first.flags.writeable
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelFileError, match="have changed"):
        tensor.numpy()


def test_data_may_begin_anywhere(tmp_path: Path) -> None:
    """Files that onnx writes have tensors one behind the other, of any number of bytes."""
    path = saved(tmp_path, tiny.classifier())
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        entries = {entry.key: entry for entry in tensor.external_data}
        entries["offset"].value = str(int(entries["offset"].value) + 3)
    onnx.save_model(model, path)
    data = tmp_path / "net.data"
    data.write_bytes(b"odd" + data.read_bytes())
    assert_same(read(path), prepared(tiny.classifier(), "net"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("length", value) for value in ("8", "-8", "8.0")),
        *(("offset", value) for value in ("1000000", "-4", "four")),
        *(("location", value) for value in ("../net.data", "none", "", ".", "/etc/passwd")),
    ],
)
def test_data_that_do_not_fit_are_refused(key: str, value: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = saved(folder, tiny.classifier())
    (tmp_path / "net.data").write_bytes((folder / "net.data").read_bytes())
    model = onnx.load(path, load_external_data=False)
    entries = {entry.key: entry for entry in model.graph.initializer[0].external_data}
    entries[key].value = value
    onnx.save_model(model, path)
    with pytest.raises(ModelFileError, match=r"external data of the model cannot be read.*net\."):
        read(path)


def test_a_file_that_is_too_short_says_what_does_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path, tiny.classifier())
    data = tmp_path / "net.data"
    size = data.stat().st_size
    data.write_bytes(data.read_bytes()[:-1])
    last = rf"head.bias needs 16 bytes, not 16 from byte {size - 16} of net.data, which has"
    with pytest.raises(ModelFileError, match=f"{last} {size - 1}$"):
        read(path)


def test_constants_that_may_be_overridden_stay() -> None:
    weight = np.ones((4, 4), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    model = tiny.build(nodes, {"w": weight}, {"x": ["N", 4]}, {"y": ["N", 4]})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4]))
    assert detached(model) == (model, {})
