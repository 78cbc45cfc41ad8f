"""Checkpoints: whole, of this job, or not there at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subbyte.compression.calibration.activation_store import ActivationStore
from subbyte.compression.checkpoint import Checkpoints
from subbyte.errors import OutputError
from subbyte.methods import WeightShape
from subbyte.methods.scalar import form
from tests.compression.nets import normal

ARRAYS = {"bias": normal(0, 7), "codes": np.arange(40, dtype=np.uint8)}


def open_at(folder: Path, key: str = "key", keep: bool = True) -> Checkpoints:
    return Checkpoints(folder, key, keep)


def test_round_trip(tmp_path: Path) -> None:
    open_at(tmp_path).save("layer-0", ARRAYS, {"step": 3})
    found = open_at(tmp_path).load("layer-0")
    assert found is not None
    assert found[1] == {"step": 3}
    assert found[0].keys() == ARRAYS.keys()
    for name, array in found[0].items():
        assert array.dtype == ARRAYS[name].dtype
        assert np.array_equal(array, ARRAYS[name])
    assert open_at(tmp_path).load("layer-1") is None


def test_weight_round_trip(tmp_path: Path) -> None:
    shape = WeightShape(4, 9, 3, 2)
    levels = np.random.default_rng(0).integers(-4, 4, (4, 9, 3))
    coded = form.pack(shape, 3, "zero", levels, np.abs(normal(0, 4)))
    open_at(tmp_path).save_weight("layer-0", coded, {"loss": np.array(0.25)})
    found = open_at(tmp_path).load_weight("layer-0")
    assert found is not None
    again, extra = found
    assert (again.method, again.variant, again.shape) == (coded.method, coded.variant, shape)
    assert again.attributes == coded.attributes
    assert list(again.inputs) == list(coded.inputs)
    assert all(np.array_equal(again.inputs[k], coded.inputs[k]) for k in coded.inputs)
    assert extra == {"loss": np.array(0.25)}


def test_another_job_does_not_read_it(tmp_path: Path) -> None:
    open_at(tmp_path, "one").save("plan", {}, "text")
    assert open_at(tmp_path, "two").load("plan") is None
    assert open_at(tmp_path, "one").load("plan") == ({}, "text")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_not_there(
    tmp_path_factory: pytest.TempPathFactory, part: float
) -> None:
    folder = tmp_path_factory.mktemp("work")
    open_at(folder).save("layer-0", ARRAYS, {"step": 3})
    path = folder / "layer-0.checkpoint"
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    assert open_at(folder).load("layer-0") is None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_altered_files_are_not_there(
    tmp_path_factory: pytest.TempPathFactory, part: float, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("work")
    open_at(folder).save("layer-0", ARRAYS, {"step": 3})
    path = folder / "layer-0.checkpoint"
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= flip
    path.write_bytes(bytes(data))
    assert open_at(folder).load("layer-0") is None


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + bytes(18), bytes(100)])
def test_files_of_someone_else_are_not_there(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "layer-0.checkpoint").write_bytes(content)
    assert open_at(tmp_path).load("layer-0") is None


def test_arrays_without_a_digest_are_not_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", bias=np.zeros(3))
    (tmp_path / "a.npz").rename(tmp_path / "layer-0.checkpoint")
    assert open_at(tmp_path).load("layer-0") is None


def test_folder_goes_unless_it_was_asked_for(tmp_path: Path) -> None:
    for keep in (True, False):
        checkpoints = open_at(tmp_path / str(keep), keep=keep)
        checkpoints.save("plan", {}, None)
        checkpoints.done()
        assert (tmp_path / str(keep)).exists() == keep


def test_empty_folder_goes_unless_it_was_asked_for(tmp_path: Path) -> None:
    for keep in (True, False):
        checkpoints = open_at(tmp_path / str(keep), keep=keep)
        checkpoints.drop_if_empty()
        assert (tmp_path / str(keep)).exists() == keep
    used = open_at(tmp_path / "used", keep=False)
    used.save("plan", {}, None)
    used.drop_if_empty()
    assert used.load("plan") is not None


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the work folder"):
        open_at(tmp_path / "file" / "work")
    with pytest.raises(OutputError, match="cannot make the work folder"):
        open_at(tmp_path / "file")


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    checkpoints = open_at(tmp_path / "work", keep=False)
    checkpoints.save("plan", {}, None)
    (tmp_path / "work" / "notes.txt").write_text("mine")
    checkpoints.done()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["notes.txt"]


def test_files_of_the_user_with_names_like_ours_stay(tmp_path: Path) -> None:
    """The folder may be one that the user has for other things too."""
    mine = ["activations-of-may.npz", "activations-"]
    for name in mine:
        (tmp_path / name).touch()
    ActivationStore(tmp_path).close()
    open_at(tmp_path).done()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mine)


@pytest.mark.parametrize("keep", [False, True])
def test_what_killed_runs_left_goes(tmp_path: Path, keep: bool) -> None:
    work = tmp_path / "work"
    checkpoints = open_at(work, keep=keep)
    checkpoints.save("plan", {}, None)
    (work / "activations-0_abcdef").mkdir()
    (work / "activations-0_abcdef" / "float-0.pt").write_text("large")
    (work / ".layer-3.checkpoint-abcd1234.partial").write_text("half")
    checkpoints.done()
    assert [path.name for path in work.glob("*")] == (["plan.checkpoint"] if keep else [])
    assert work.exists() == keep
