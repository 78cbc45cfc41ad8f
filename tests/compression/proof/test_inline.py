"""Inlined files are tried before they have their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import subbyte
from subbyte.compression.proof import inline as inlined
from subbyte.compression.proof.inline import inline_file, made_up
from subbyte.data import InputSpec
from subbyte.errors import ModelFileError, ProofError
from tests import tiny
from tests.compression.nets import classifier, smooth_images

IMAGES = smooth_images(24, size=tiny.SIZE)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inlined")
    return subbyte.compress(classifier(IMAGES), folder / "small.onnx", IMAGES).path


def test_computes_the_same(small: Path, tmp_path: Path) -> None:
    done = inline_file(small, tmp_path / "out.onnx")
    assert done.error is not None
    assert done.error < 1e-6
    assert done.shapes == {"input": [3, 3, tiny.SIZE, tiny.SIZE]}
    found, wanted = (
        subbyte.load(path, engine="portable").run(IMAGES) for path in (done.path, small)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_file_without_coded_layers(tmp_path: Path) -> None:
    tiny.save(tiny.classifier(), tmp_path / "in.onnx")
    with pytest.raises(ModelFileError, match="nothing to inline"):
        inline_file(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["in.onnx"]


def test_sizes_that_no_guess_meets(small: Path, tmp_path: Path) -> None:
    """The file is opened and written, and that it was not run is said."""
    model = onnx.load(small)
    # The network has a fixed size, but does not say so: a product with a matrix needs six columns.
    product = onnx.helper.make_node("MatMul", ["input", "square"], ["turned"], "turn")
    for node in model.graph.node:
        node.input[:] = ["turned" if name == "input" else name for name in node.input]
    model.graph.node.insert(0, product)
    square = onnx.numpy_helper.from_array(np.eye(tiny.SIZE, dtype=np.float32), "square")
    model.graph.initializer.append(square)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"s{axis}"
    source = tiny.save(model, tmp_path / "in.onnx")
    done = inline_file(source, tmp_path / "out.onnx", sizes=(5, 7))
    assert (done.error, done.shapes) == (None, None)
    assert done.path.is_file()
    found = inline_file(source, tmp_path / "out.onnx", sizes=(5, tiny.SIZE)).shapes
    assert found == {"input": [3, 3, tiny.SIZE, tiny.SIZE]}


def unknown(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "Nothing"


def scaled(model: onnx.ModelProto) -> None:
    """The last bias is another."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and list(tensor.dims) == [tiny.CLASSES]:
            changed = onnx.numpy_helper.to_array(tensor) + np.arange(4, dtype=np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))


@pytest.mark.parametrize(
    ("change", "said"),
    [(unknown, r"cannot open.*please report.*\[node .*Nothing"), (scaled, "another result")],
)
def test_a_file_that_is_wrong_is_not_written(
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[onnx.ModelProto], None],
    said: str,
) -> None:
    whole = inlined.inline

    def broken(model: onnx.ModelProto) -> onnx.ModelProto:
        result = whole(model)
        change(result)
        return result

    monkeypatch.setattr(inlined, "inline", broken)
    with pytest.raises(ProofError, match=said):
        inline_file(small, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_made_up_inputs() -> None:
    specs = [
        InputSpec("x", ("N", 3, None), np.dtype("float32")),
        InputSpec("ids", (2, "length"), np.dtype("int64")),
        InputSpec("rate", (), np.dtype("int64")),
    ]
    batch = made_up(specs, 4, 16)
    assert {name: array.shape for name, array in batch.items()} == {
        **{"x": (4, 3, 16), "ids": (2, 16), "rate": ()}
    }
    assert set(np.unique(batch["ids"])) == {0, 1}
    assert batch["x"].dtype == np.float32
