"""Class indices of samples: from arrays, from the folders of images, from a text file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.data.arrays import read_array, split_reference, to_array
from subbyte.data.image_folder import ImageFolder
from subbyte.data.samples import Samples
from subbyte.errors import CalibrationError, reason

Labels = str | os.PathLike[str] | ArrayLike
FOLDERS = "folders"
"""Labels of images that lie in a folder for each class: the places of its name in the sorted
names of all such folders."""

_LISTS = (".txt", ".csv", ".tsv")
_SEPARATOR = re.compile(r"[,;\t ]+")


def read_labels(labels: Labels, samples: Samples) -> NDArray[np.int64]:
    """Class indices [N] of N samples.

    ``labels`` is an array, ``FILE.npz:array`` or ``FILE.npy``. It has an index for each sample, or
    for each sample of the file that the samples were taken from. For a folder of images this is
    the order of the images' sorted names.

    For a folder of images ``labels`` may also be `FOLDERS`, or a text file (``.txt``, ``.csv``,
    ``.tsv``) with lines ``name index``. The name is an image's path in the folder, its file name,
    or a class folder's name. A line without an index has its own place, from 0, as index.

    Raises:
        CalibrationError: labels that are no class indices, too many or too few, an image
            without a label, samples that are no images of a folder.
    """
    if isinstance(labels, str | os.PathLike):
        text = os.fspath(labels)
        if text == FOLDERS:
            return _of_folders(_images(samples, text))
        if text.lower().endswith(_LISTS):
            folder = _images(samples, text)
            return _looked_up(folder, _read_list(Path(text)), text)
        path, name = split_reference(text)
        array, where = read_array(path, name), text
    else:
        array, where = to_array(labels, "labels"), "labels"
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise CalibrationError(
            "labels are not class indices",
            where=where,
            expected="integers [N]",
            got=f"{array.dtype} {list(array.shape)}",
        )
    return _matched(array, samples, where).astype(np.int64)


def _matched(array: NDArray[np.int64], samples: Samples, where: str) -> NDArray[np.int64]:
    folder = samples.folder
    stored = samples.stored if folder is None else len(folder.names)
    if len(array) == stored:
        return array[samples.places if folder is None else folder.places]
    if len(array) == len(samples):
        return array
    raise CalibrationError(
        "labels and samples differ in number", where=where, expected=stored, got=len(array)
    )


def _images(samples: Samples, labels: str) -> ImageFolder:
    if samples.folder is None:
        raise CalibrationError(
            "labels by name need samples from a folder of images",
            where=labels,
            expected="FILE.npz:array",
        )
    return samples.folder


def _of_folders(folder: ImageFolder) -> NDArray[np.int64]:
    outside = next((name for name in folder.chosen if "/" not in name), None)
    if outside is not None:
        raise CalibrationError(
            "an image lies in no class folder",
            where=os.fspath(folder.root),
            expected="a folder for each class, with its images",
            got=outside,
        )
    return _looked_up(folder, {name: i for i, name in enumerate(folder.classes)}, FOLDERS)


def _looked_up(folder: ImageFolder, index: Mapping[str, int], where: str) -> NDArray[np.int64]:
    found = []
    for name in folder.chosen:
        keys = (name, name.partition("/")[0], name.rpartition("/")[2])
        key = next((key for key in keys if key in index), None)
        if key is None:
            raise CalibrationError(
                "an image has no label",
                where=where,
                expected="a line with its path, its file name or the name of its class folder",
                got=name,
            )
        found.append(index[key])
    return np.array(found, np.int64)


def _read_list(path: Path) -> dict[str, int]:
    """Name -> index of the lines of a text file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(
            "cannot read the labels", where=str(path), expected="a text file", got=reason(error)
        ) from error
    index: dict[str, int] = {}
    for place, line in enumerate(line for line in lines if line.strip()):
        name, number = _split(line.strip())
        if name in index and index[name] != (place if number is None else number):
            raise CalibrationError("a name has two labels", where=str(path), got=name)
        index[name] = place if number is None else number
    return index


def _split(line: str) -> tuple[str, int | None]:
    """``name`` and ``index`` of a line; a name may hold spaces and commas."""
    ends = list(_SEPARATOR.finditer(line))
    if ends and re.fullmatch(r"\d+", line[ends[-1].end() :]):
        return line[: ends[-1].start()].strip('"'), int(line[ends[-1].end() :])
    return line.strip('"'), None
