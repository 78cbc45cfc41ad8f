"""Samples that a program makes: functions by name, iterables of batches, data sets."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data.arrays import to_array
from subbyte.data.specs import InputSpec
from subbyte.errors import CalibrationError, reason

Named = list[tuple[str, NDArray[Any]]]
MOST_BYTES = 1 << 32
"""An iterable that gives more, and is told no number of samples, may have no end."""


def find_function(text: str) -> Callable[[], Any] | None:
    """The function of ``module:function`` or ``FILE.py:function``; None for another text.

    Modules are looked for as Python does, and in the current folder.

    Raises:
        CalibrationError: no such module or function, a module that cannot be imported.
    """
    head, colon, name = text.rpartition(":")
    file = head.endswith(".py")
    if not colon or not name.isidentifier():
        return None
    if not file and not all(part.isidentifier() for part in head.split(".")):
        return None
    if head.lower().endswith((".npz", ".npy")):
        return None
    try:
        module = _of_file(Path(head)) if file else _of_name(head)
    except CalibrationError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise CalibrationError(
            "cannot import the module of a function",
            where=text,
            expected="module:function, from the current folder or installed; or FILE.npz:array",
            got=f"{type(error).__name__}: {reason(error)}",
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise CalibrationError(
            "no such function" if found is None else "not a function",
            where=text,
            expected=f"a function in {module.__file__ or head}, called without arguments",
            got=name,
        )
    return found


def _of_name(name: str) -> ModuleType:
    # A program that pip installs does not look there by itself, unlike `python -m`.
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CalibrationError("no such file", where=str(path), expected="FILE.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(function: Callable[[], Any], where: str) -> Any:
    """The result of ``function()``; `CalibrationError` where it raises anything."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise _failed(error, where) from error


def is_batches(source: object) -> bool:
    """Whether ``source`` gives batches or samples one after the other: an iterator, a DataLoader,
    a data set with a length and numbered items, a list of arrays or of mappings."""
    if isinstance(source, str | bytes | os.PathLike | Mapping) or _is_array(source):
        return False
    if isinstance(source, list | tuple):
        first = source[0] if source else None
        inner = first[0] if isinstance(first, list | tuple) and first else first
        return isinstance(first, Mapping) or _is_array(inner)
    return isinstance(source, Iterable) or _is_dataset(source)


def collect(
    source: Any,
    inputs: Sequence[InputSpec],
    where: str,
    count: int | None = None,
    seed: int | None = None,
    most_bytes: int = MOST_BYTES,
) -> Named:
    """One (description, array) per input, of all batches, or of the first ``count`` samples.

    A batch is an array (for one input), a mapping from input names to arrays, or a tuple or list
    with an array for each input, in order. Further items, such as labels, are left out. An array
    without the batch axis is one sample. Of a data set ``count`` samples are drawn at
    random, by ``seed`` (None: 0).

    Raises:
        CalibrationError: no batches, batches that lack an input or differ in shape, more than
            ``most_bytes`` without a ``count``; any exception of the iterable.
    """
    parts: list[list[NDArray[Any]]] = [[] for _ in inputs]
    seen = size = 0
    for number, item in enumerate(_items(source, where, count, seed)):
        arrays = _arrays(item, inputs, f"{where}, batch {number}")
        for part, array in zip(parts, arrays, strict=True):
            part.append(array)
        size += sum(array.nbytes for array in arrays)
        seen += _count(arrays, inputs)
        if count is not None and seen >= count:
            break
        if count is None and size > most_bytes:
            raise CalibrationError(
                "more samples than memory should hold",
                where=where,
                expected=f"at most {most_bytes} bytes, or a number of samples (`samples=N`)",
                got=f"{seen} samples and more",
            )
    if not seen:
        raise CalibrationError("no samples", where=where, expected="at least one batch")
    titles = [where if len(inputs) == 1 else f"{where}, {spec.name}" for spec in inputs]
    return [
        (title, _joined(part, spec, title, count))
        for title, part, spec in zip(titles, parts, inputs, strict=True)
    ]


def _items(source: Any, where: str, count: int | None, seed: int | None) -> Iterator[Any]:
    """The items of ``source``; its own exceptions become a `CalibrationError`."""
    try:
        if _is_dataset(source) and not isinstance(source, list | tuple):
            order = np.random.default_rng(seed or 0).permutation(len(source))
            yield from (source[int(place)] for place in order[:count])
        else:
            yield from source
    except CalibrationError:
        raise
    except Exception as error:
        raise _failed(error, where) from error


def _arrays(item: Any, inputs: Sequence[InputSpec], where: str) -> list[NDArray[Any]]:
    """An array for each input out of one batch or sample, with the batch axis."""
    names = [spec.name for spec in inputs]
    got = "one array"
    values: list[Any] | None = None
    if isinstance(item, Mapping):
        values = [item[name] for name in names] if set(names) <= set(item) else None
        got = ", ".join(map(str, item))
    elif isinstance(item, list | tuple) and item and not _is_number(item[0]):
        values = list(item[: len(inputs)]) if len(item) >= len(inputs) else None
        got = f"{len(item)} arrays"
    elif len(inputs) == 1:
        values = [item]
    if values is None:
        raise CalibrationError(
            "a batch lacks an input of the model", where=where, expected=", ".join(names), got=got
        )
    pairs = zip(values, inputs, strict=True)
    return [_batched(to_array(value, where), spec, where) for value, spec in pairs]


def _batched(array: NDArray[Any], spec: InputSpec, where: str) -> NDArray[Any]:
    """``array`` with the batch axis of ``spec``, which one sample lacks."""
    if array.dtype.kind not in "biuf":
        raise CalibrationError(
            "array is not numeric", where=where, expected="real numbers", got=array.dtype
        )
    if spec.axis is None or array.ndim != len(spec.shape) - 1:
        return array
    turned = np.moveaxis(array, -1, 0) if array.ndim == 3 else array
    back = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    one = any(spec.accepts(view.shape) for view in (array, turned, back))
    return np.expand_dims(array, spec.axis) if one else array


def _count(arrays: Sequence[NDArray[Any]], inputs: Sequence[InputSpec]) -> int:
    sizes = [
        1 if spec.axis is None or array.ndim <= spec.axis else array.shape[spec.axis]
        for array, spec in zip(arrays, inputs, strict=True)
    ]
    return max(sizes)


def _joined(
    parts: list[NDArray[Any]], spec: InputSpec, where: str, count: int | None
) -> NDArray[Any]:
    """All batches of one input; of an input without a batch one row a batch."""
    shapes = [part.shape for part in parts]
    axis = spec.axis
    try:
        if axis is None:
            return np.stack(parts)
        whole = np.concatenate(parts, axis)
    except ValueError as error:
        other = next((shape for shape in shapes if len(shape) != len(shapes[0])), None)
        other = other or next((shape for shape in shapes if shape[1:] != shapes[0][1:]), shapes[-1])
        raise CalibrationError(
            "batches differ in shape",
            where=where,
            expected=f"{list(shapes[0])} as in the first one, but for the number of samples",
            got=list(other),
        ) from error
    return whole if count is None else whole[(slice(None),) * axis + (slice(count),)]


def _failed(error: BaseException, where: str) -> CalibrationError:
    return CalibrationError(
        "the program that makes the samples fails",
        where=where,
        expected="arrays, mappings from input names to arrays, or tuples of arrays",
        got=f"{type(error).__name__}: {reason(error)}",
    )


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "detach")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number)


def _is_dataset(source: object) -> bool:
    return hasattr(source, "__getitem__") and hasattr(source, "__len__")
