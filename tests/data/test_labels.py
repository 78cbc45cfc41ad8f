from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from subbyte.data import InputSpec, Samples, as_samples, read_labels
from subbyte.errors import CalibrationError

SPEC = InputSpec("x", ("N", 1, 2, 2), np.dtype("float32"))
CLASSES = ("apple tree", "pear, ripe", "plum")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images of each class, all pixels the class's index."""
    root = tmp_path / "images"
    for index, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((2, 2), index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}{number}.png")
    return root


def samples_of(folder: Path, count: int | None = None) -> Samples:
    return as_samples(folder, [SPEC], "zero-to-one", count=count)


def truth(samples: Samples) -> list[int]:
    return [round(255 * float(b["x"].mean())) for b in samples.batches(1)]


@pytest.mark.parametrize("count", [None, 7])
def test_class_folders_in_the_order_of_their_names(folder: Path, count: int | None) -> None:
    samples = samples_of(folder, count)
    assert read_labels("folders", samples).tolist() == truth(samples)
    some = samples.select([3, 1])
    assert read_labels("folders", some).tolist() == truth(some)


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("classes.txt", ["plum 0", "apple tree 1", "pear, ripe 2"], (1, 2, 0)),
        ("classes.txt", ["plum", "apple tree", "", "pear, ripe"], (1, 2, 0)),
        ("classes.csv", ['"pear, ripe",5', "plum,6", "apple tree,7"], (7, 5, 6)),
        ("classes.tsv", ["pear, ripe\t5", "plum\t6", "apple tree\t7"], (7, 5, 6)),
    ],
)
def test_indices_of_classes_from_a_file(
    folder: Path, tmp_path: Path, name: str, lines: list[str], expected: tuple[int, ...]
) -> None:
    (tmp_path / name).write_text("\n".join(lines))
    samples = samples_of(folder)
    got = read_labels(tmp_path / name, samples).tolist()
    assert got == [expected[index] for index in truth(samples)]


def test_indices_of_images_from_a_file(folder: Path, tmp_path: Path) -> None:
    samples = samples_of(folder)
    assert samples.folder is not None
    by_path = {name: place + 20 for place, name in enumerate(samples.folder.names)}
    for shorten in (False, True):
        lines = [
            f"{name.rpartition('/')[2] if shorten else name} {i}" for name, i in by_path.items()
        ]
        (tmp_path / "val.txt").write_text("\n".join(lines))
        got = read_labels(str(tmp_path / "val.txt"), samples).tolist()
        assert got == [by_path[name] for name in samples.folder.chosen]


def test_arrays_follow_the_sorted_names(folder: Path, tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], 4)
    np.savez(tmp_path / "y.npz", y=labels)
    for count in (None, 5):
        samples = samples_of(folder, count)
        assert read_labels(f"{tmp_path / 'y.npz'}:y", samples).tolist() == truth(samples)
        assert read_labels(labels, samples).tolist() == truth(samples)
    assert read_labels([3, 1, 2], samples_of(folder, 3)).tolist() == [3, 1, 2]


def test_arrays_follow_arrays() -> None:
    samples = as_samples(np.zeros((9, 1, 2, 2)), [SPEC]).select([4, 2])
    assert read_labels(np.arange(9), samples).tolist() == [4, 2]
    assert read_labels([7, 8], samples).tolist() == [7, 8]
    with pytest.raises(CalibrationError, match=r"differ in number .*expected 9, got 3"):
        read_labels([7, 8, 9], samples)
    for labels in ("folders", "list.txt"):
        with pytest.raises(CalibrationError, match="labels by name need samples from a folder"):
            read_labels(labels, samples)


def test_images_without_a_label(folder: Path, tmp_path: Path) -> None:
    samples = samples_of(folder)
    (tmp_path / "classes.txt").write_text("plum 0\napple tree 1\n")
    with pytest.raises(CalibrationError, match=r"no label \[.*classes\.txt\].*got pear, ripe/1"):
        read_labels(tmp_path / "classes.txt", samples)
    (tmp_path / "classes.txt").write_text("plum 0\nplum 1\n")
    with pytest.raises(CalibrationError, match=r"a name has two labels .*got plum"):
        read_labels(tmp_path / "classes.txt", samples)
    with pytest.raises(CalibrationError, match="cannot read the labels"):
        read_labels(tmp_path / "none.txt", samples)
    (folder / "plum" / "20.png").rename(folder / "20.png")
    with pytest.raises(CalibrationError, match=r"in no class folder .*got 20\.png"):
        read_labels("folders", samples_of(folder))
