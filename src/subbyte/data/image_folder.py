"""Folders of images: which files are samples, and in which order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.errors import CalibrationError

_COMMON = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_RARE = (".avif", ".heic", ".heif", ".jp2", ".jxl", ".pbm", ".pgm", ".pnm", ".ppm", ".tga")
SUFFIXES = frozenset((*_COMMON, *_RARE))
"""Files with these endings, in any case, are images; all others are passed over."""


@dataclass(frozen=True)
class ImageFolder:
    """The images below ``root``, in sub-folders too. Make one with `open_folder`.

    ``names``: paths of all images from ``root`` on, with "/", sorted. ``places``: the samples,
    as positions in ``names``.
    """

    root: Path
    names: tuple[str, ...]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def chosen(self) -> list[str]:
        """The names of the samples, in order."""
        return [self.names[place] for place in self.places]

    @property
    def classes(self) -> tuple[str, ...]:
        """The sorted names of the folders in ``root`` that hold images."""
        return tuple(sorted({name.partition("/")[0] for name in self.names if "/" in name}))

    def select(self, index: ArrayLike) -> ImageFolder:
        """The samples at these positions (of this object), in this order."""
        return replace(self, places=self.places[np.asarray(index, dtype=np.int64)])

    def draw(self, count: int | None, seed: int) -> ImageFolder:
        """``count`` samples (all if None or too many) in a random order, fixed by ``seed``.

        Random because names are often sorted by class: every part of the samples then has all
        classes.
        """
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(order if count is None else order[:count])


def open_folder(root: str | os.PathLike[str]) -> ImageFolder:
    """The images of a folder. Hidden files and folders, whose names begin with a dot or with
    ``__MACOSX``, and files that have another ending than `SUFFIXES`, are passed over.

    Raises:
        CalibrationError: a folder that cannot be read, or that holds no images.
    """
    others: list[str] = []
    names: list[str] = []
    for name in _files(Path(root)):
        is_image = os.path.splitext(name)[1].lower() in SUFFIXES
        (names if is_image else others).append(name)
    if not names:
        raise CalibrationError(
            "no images in the folder",
            where=os.fspath(root),
            expected="files that end in .jpg, .png and the like",
            got=_listed(sorted(others)),
        )
    return ImageFolder(Path(root), tuple(sorted(names)), np.arange(len(names)))


def _files(root: Path) -> Iterator[str]:
    """Paths of the files below ``root``; linked folders are entered once."""
    entered: set[str] = set()

    def fail(error: OSError) -> None:
        raise CalibrationError(
            "cannot read the folder", where=os.fspath(root), got=error.strerror or str(error)
        ) from error

    for folder, inner, files in os.walk(root, onerror=fail, followlinks=True):
        inner[:] = [name for name in sorted(inner) if not _hidden(name)]
        identity = os.path.realpath(folder)
        if identity in entered:
            inner[:] = []
            continue
        entered.add(identity)
        for name in files:
            if not _hidden(name):
                yield Path(folder, name).relative_to(root).as_posix()


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _listed(names: list[str], most: int = 5) -> Any:
    if not names:
        return "no files"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
