from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from subbyte.data import open_folder
from subbyte.errors import CalibrationError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_images_of_all_folders_sorted_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.png", "a.webp", "notes.txt", "Thumbs.db", "c/deep/er/x.tiff")
    touch(tmp_path, ".DS_Store", ".cache/z.png", "b/._1.png", "__MACOSX/b/1.png")
    folder = open_folder(tmp_path)
    assert folder.names == ("a.webp", "b/1.png", "b/2.JPG", "c/deep/er/x.tiff")
    assert folder.chosen == list(folder.names)
    assert folder.classes == ("b", "c")
    assert open_folder(str(tmp_path)).names == folder.names


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "store", "1.png", "more/2.png")
    images = tmp_path / "images"
    images.mkdir()
    (images / "link").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "more" / "round").symlink_to(tmp_path / "store")
    (images / "one.png").symlink_to(tmp_path / "store" / "1.png")
    assert open_folder(images).names == ("link/1.png", "link/more/2.png", "one.png")


def test_drawing_is_random_and_fixed_by_the_seed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{i}.png" for name in "abcd" for i in range(25)))
    folder = open_folder(tmp_path)
    whole = folder.draw(None, 0)
    assert sorted(whole.chosen) == list(folder.names)
    assert whole.chosen != list(folder.names)
    assert folder.draw(10, 0).chosen == whole.chosen[:10]
    assert folder.draw(10, 1).chosen != whole.chosen[:10]
    # Sorted by class, the first 20 would all be of one.
    assert {name[0] for name in folder.draw(20, 0).chosen} == set("abcd")
    assert len(folder.draw(1000, 0)) == 100
    assert whole.select(np.array([3, 1])).chosen == [whole.chosen[3], whole.chosen[1]]


@pytest.mark.parametrize(
    ("names", "got"),
    [
        ((), "got no files"),
        (("a.txt",), "got a.txt"),
        (tuple(f"{i}.csv" for i in range(9)), r"0\.csv, .*, 4\.csv and 4 more"),
    ],
)
def test_folders_without_images(tmp_path: Path, names: tuple[str, ...], got: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(CalibrationError, match=rf"no images in the folder \[.*\]: .*{got}"):
        open_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_folders_that_may_not_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(CalibrationError, match="cannot read the folder"):
            open_folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
