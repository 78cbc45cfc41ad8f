"""External data as download caches lay them out, and those that are refused unopened."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from subbyte.errors import ModelFileError
from subbyte.graph.load.external_data import DataFolder, locations
from subbyte.graph.load.model_file import model_files
from subbyte.graph.load.network import load_model, prepare, read_network
from subbyte.report.stored import read_stored
from tests import tiny


def saved(folder: Path, location: str = "net.data") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    path = folder / "net.onnx"
    onnx.save_model(
        tiny.classifier(), path, save_as_external_data=True, location=location, size_threshold=0
    )
    return path


def assert_readable(path: Path, large_bytes: int) -> None:
    """By every way in which a model file is read."""
    expected = prepare(tiny.classifier(), "net").model.graph.initializers
    found = read_network(path, large_bytes=large_bytes).model.graph.initializers
    for name, value in expected.items():
        one, other = value.const_value, found[name].const_value
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert not locations(load_model(path))
    assert set(model_files(path)) == {
        path.name,
        *locations(onnx.load(path, load_external_data=False)),
    }
    assert read_stored(path).file_bytes > 0


class MappedAndRead:
    """Tests of files whose data are mapped, and are read at once."""

    large_bytes: int

    @pytest.fixture(autouse=True, params=[16, 1 << 30], ids=["mapped", "read"])
    def _take_large_bytes(self, request: pytest.FixtureRequest) -> None:
        self.large_bytes = request.param


class TestAccepted(MappedAndRead):
    def test_a_folder_below(self, tmp_path: Path) -> None:
        assert_readable(saved(tmp_path, "weights/net.data"), self.large_bytes)

    def test_a_hard_link(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        os.link(tmp_path / "net.data", tmp_path / "other.data")
        assert_readable(path, self.large_bytes)

    def test_a_link_below_the_folder(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        (tmp_path / "real").mkdir()
        (tmp_path / "net.data").rename(tmp_path / "real" / "data")
        (tmp_path / "net.data").symlink_to("real/data")
        assert_readable(path, self.large_bytes)

    def test_a_folder_that_is_a_link(self, tmp_path: Path) -> None:
        saved(tmp_path / "real")
        (tmp_path / "link").symlink_to("real")
        assert_readable(tmp_path / "link" / "net.onnx", self.large_bytes)

    @pytest.mark.parametrize("inner", [".", "onnx"])
    def test_a_download_cache(self, inner: str, tmp_path: Path) -> None:
        """Names link to blobs of other names, the model too: its data lie beside the link."""
        cache = tmp_path / "models--owner--name"
        saved(cache / "blobs")
        (cache / "blobs" / "net.onnx").rename(cache / "blobs" / "0a1b")
        (cache / "blobs" / "net.data").rename(cache / "blobs" / "2c3d")
        folder = cache / "snapshots" / "revision" / inner
        folder.mkdir(parents=True)
        blobs = os.path.relpath(cache / "blobs", folder)
        (folder / "net.onnx").symlink_to(f"{blobs}/0a1b")
        (folder / "net.data").symlink_to(f"{blobs}/2c3d")
        assert_readable(folder / "net.onnx", self.large_bytes)

    def test_blobs_beside_another_layout(self, tmp_path: Path) -> None:
        saved(tmp_path / "blobs")
        (tmp_path / "files").mkdir()
        for name in ("net.onnx", "net.data"):
            (tmp_path / "files" / name).symlink_to(f"../blobs/{name}")
        assert_readable(tmp_path / "files" / "net.onnx", self.large_bytes)


class TestRefused(MappedAndRead):
    def refused(self, path: Path, *parts: str) -> None:
        mapped = partial(read_network, large_bytes=self.large_bytes)
        for read in (mapped, load_model, model_files, read_stored):
            with pytest.raises(ModelFileError) as caught:
                read(path)
            assert all(part in str(caught.value) for part in ("net.onnx", *parts)), caught.value

    def test_a_link_out_of_the_folder(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "in")
        (tmp_path / "in" / "net.data").rename(tmp_path / "secret")
        (tmp_path / "in" / "net.data").symlink_to("../secret")
        self.refused(path, "net.data is a link out of the folder of the model")

    def test_a_folder_that_is_a_link_out(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "in", "sub/net.data")
        (tmp_path / "in" / "sub").rename(tmp_path / "out")
        (tmp_path / "in" / "sub").symlink_to("../out")
        self.refused(path, "sub/net.data is a link out of")

    def test_other_places_of_a_cache(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "snapshots" / "a")
        path.with_name("net.data").rename(tmp_path / "other")
        path.with_name("net.data").symlink_to("../../other")
        self.refused(path, "is a link out of")

    def test_a_fifo_is_not_opened(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        (tmp_path / "net.data").unlink()
        os.mkfifo(tmp_path / "net.data")
        self.refused(path, "net.data is no regular file")

    def test_a_folder(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        (tmp_path / "net.data").unlink()
        (tmp_path / "net.data").mkdir()
        self.refused(path, "net.data is no regular file")

    def test_a_loop_of_links(self, tmp_path: Path) -> None:
        path = saved(tmp_path)
        (tmp_path / "net.data").unlink()
        (tmp_path / "net.data").symlink_to("net.data")
        self.refused(path)


@pytest.mark.parametrize(
    "location", ["", ".", "../net.data", "a/../net.data", "/net.data", "C:/net.data", "a\0b"]
)
def test_locations_out_of_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "net.data").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no path below|no regular file"):
        DataFolder.of(tmp_path / "net.onnx").file(location)


def test_data_of_inner_graphs_and_attributes_are_found() -> None:
    def outside(name: str) -> onnx.TensorProto:
        tensor = numpy_helper.from_array(np.ones(2, np.float32), name)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{name}.bin")
        return tensor

    made = helper.make_tensor_value_info("t", TensorProto.FLOAT, [2])
    inner = helper.make_graph(
        [helper.make_node("Identity", ["i"], ["t"])], "then", [], [made], [outside("i")]
    )
    nodes = [
        helper.make_node("Constant", [], ["k"], value=outside("k")),
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [outside("w")])
    model = helper.make_model(graph)
    assert locations(model) == ["i.bin", "k.bin", "w.bin"]
