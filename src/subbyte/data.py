"""Samples: arrays in memory, preprocessed batch by batch on their way into a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.arrays import describe, read_array, read_headers, split_reference
from subbyte.errors import CalibrationError, OptionError

Layout = Literal["nchw", "nhwc"]
Batch = dict[str, NDArray[Any]]
MOST_SEED = (1 << 32) - 1
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class InputSpec:
    """One input of a model: a dimension is a number, or a name (None) where it is free.

    The first dimension is the batch.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]

    def accepts(self, sample_shape: Sequence[int]) -> bool:
        """Whether a sample of this shape (batch left out) fits."""
        wanted = self.shape[1:]
        return len(wanted) == len(sample_shape) and all(
            not isinstance(want, int) or want == got
            for want, got in zip(wanted, sample_shape, strict=True)
        )

    def __str__(self) -> str:
        return "[" + ", ".join("?" if d is None else str(d) for d in ("N", *self.shape[1:])) + "]"


@dataclass(frozen=True)
class Preprocessing:
    """x -> (x / scale - mean) / std, per channel, then to channels first, float32.

    ``mean`` and ``std`` hold one number per channel, or one for all of them; empty
    means 0 and 1. ``layout`` "nhwc" says that the samples have channels last.

    Raises:
        OptionError: scale or a std that is zero or not finite, an unknown layout.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Layout = "nchw"

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise OptionError("unknown layout", expected="nchw or nhwc", got=self.layout)
        for name, values in (("scale", (self.scale,)), ("mean", self.mean), ("std", self.std)):
            for value in values:
                if not math.isfinite(value) or (value == 0 and name != "mean"):
                    raise OptionError(
                        f"{name} out of range", expected="finite numbers, not zero", got=value
                    )

    @property
    def scales(self) -> bool:
        """Whether values change (a layout alone does not)."""
        return self.scale != 1 or bool(self.mean) or bool(self.std)

    def check(self, channels: int, where: str) -> None:
        """Raise `CalibrationError` unless mean and std fit ``channels``."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, channels):
                raise CalibrationError(
                    f"{name} has the wrong length",
                    where=where,
                    expected=f"1 or {channels} numbers (one per channel)",
                    got=len(values),
                )

    def apply(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Values of ``batch`` [N, C, ...] (channels already first) as float32."""
        result = batch.astype(np.float32)
        per_channel = (1, -1) + (1,) * (batch.ndim - 2)
        if self.scale != 1:
            result /= np.float32(self.scale)
        if self.mean:
            result -= np.asarray(self.mean, np.float32).reshape(per_channel)
        if self.std:
            result /= np.asarray(self.std, np.float32).reshape(per_channel)
        return result


class Samples:
    """The samples a model is calibrated or measured on, one array per model input.

    Arrays keep the dtype they are stored in; `batches` converts only what it hands out.
    Make one with `as_samples`, which checks everything.
    """

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]],
        inputs: Sequence[InputSpec],
        preprocessing: Preprocessing,
        index: NDArray[np.int64] | None = None,
    ) -> None:
        self._arrays = tuple(arrays)
        self.inputs = tuple(inputs)
        self.preprocessing = preprocessing
        self._index = np.arange(len(arrays[0])) if index is None else index

    @property
    def names(self) -> list[str]:
        """Names of the model inputs, in the model's order."""
        return [spec.name for spec in self.inputs]

    def __len__(self) -> int:
        return len(self._index)

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of up to ``size`` samples, in order: model input name -> array.

        A float input gets `Preprocessing` and arrives in the dtype that the model asks
        for; an integer input arrives as stored, in the model's dtype.
        """
        for start in range(0, len(self), size):
            rows = self._index[start : start + size]
            yield {
                spec.name: self._convert(array[rows], spec)
                for array, spec in zip(self._arrays, self.inputs, strict=True)
            }

    def select(self, index: ArrayLike) -> Samples:
        """The samples at these positions (of this object), in this order."""
        rows = self._index[np.asarray(index, dtype=np.int64)]
        return Samples(self._arrays, self.inputs, self.preprocessing, rows)

    def compact(self) -> Samples:
        """The same samples, without those of the arrays that were not selected."""
        return Samples(
            [array[self._index] for array in self._arrays], self.inputs, self.preprocessing
        )

    def first(self, count: int | None) -> Samples:
        """The first ``count`` samples; all of them if None or if there are fewer."""
        _check_count(count)
        return self if count is None else self.select(np.arange(min(count, len(self))))

    def take(self, count: int | None, seed: int = 0) -> Samples:
        """A random subset of ``count`` samples, in stored order, fixed by ``seed``.

        Random because data sets are often sorted by class; all samples if ``count`` is
        None or not less than what there is.
        """
        _check_count(count)
        check_seed(seed)
        if count is None or count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return self.select(np.sort(chosen))

    def fingerprint(self) -> str:
        """SHA-256 of the samples, their order, the inputs and the preprocessing."""
        head = {
            "inputs": [(spec.name, spec.shape, spec.dtype.str) for spec in self.inputs],
            "preprocessing": dataclasses.asdict(self.preprocessing),
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for array in self._arrays:
            digest.update(f"{array.dtype.str}{(len(self), *array.shape[1:])}".encode())
            for rows in _chunks(self._index, array):
                digest.update(array[rows].tobytes())
        return digest.hexdigest()

    def _convert(self, batch: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
        if spec.dtype.kind == "f":
            batch = self.preprocessing.apply(batch)
        return np.ascontiguousarray(batch, dtype=spec.dtype)


Source = str | os.PathLike[str] | ArrayLike | Mapping[str, ArrayLike] | Samples


def as_samples(
    source: Source,
    inputs: Sequence[InputSpec],
    preprocessing: Preprocessing | None = None,
    *,
    option: str = "calibration data",
) -> Samples:
    """Turn what a user gave into `Samples` that fit the model's ``inputs``.

    ``source`` is ``FILE.npz[:array]``, ``FILE.npy``, an array [N, ...] (for a model with
    one input), a mapping from the model's input names to arrays, or `Samples`. An
    ``.npz`` whose arrays bear the names of the model's inputs feeds them all. Samples
    without a channel axis, [N, H, W], are taken by an input [N, 1, H, W].

    Raises:
        CalibrationError: unreadable file, no or unknown array name, wrong shape or
            dtype, no samples, different numbers of samples, NaN or Inf.
        OptionError: scaling asked for a model with several float inputs.
    """
    if isinstance(source, Samples):
        return source
    steps = Preprocessing() if preprocessing is None else preprocessing
    if steps.scales and sum(spec.dtype.kind == "f" for spec in inputs) > 1:
        raise OptionError(
            "scale, mean and std need a model with one float input",
            expected="preprocessed arrays",
            got=f"inputs {', '.join(spec.name for spec in inputs)}",
        )
    named = _named_arrays(source, inputs, option)
    arrays = [
        _arranged(array, spec, steps, where)
        for (where, array), spec in zip(named, inputs, strict=True)
    ]
    counts = {where: len(array) for (where, _), array in zip(named, arrays, strict=True)}
    if len(set(counts.values())) > 1:
        raise CalibrationError("inputs differ in their number of samples", got=counts)
    samples = Samples(arrays, inputs, steps)
    for (where, _), array, spec in zip(named, arrays, inputs, strict=True):
        _check_finite(array, spec, where)
    return samples


def _named_arrays(
    source: str | os.PathLike[str] | ArrayLike | Mapping[str, ArrayLike],
    inputs: Sequence[InputSpec],
    option: str,
) -> list[tuple[str, NDArray[Any]]]:
    """One (description, array) per model input, in the model's order."""
    names = [spec.name for spec in inputs]
    if isinstance(source, str | os.PathLike):
        path, name = split_reference(source)
        headers = read_headers(path)
        if name is None and set(names) <= set(headers):
            return [(f"{path}:{each}", read_array(path, each)) for each in names]
        if len(names) == 1:
            return [(os.fspath(source), read_array(path, name))]
        available = name or describe(headers)
    elif isinstance(source, Mapping):
        if set(names) <= set(source):
            return [(f"{option}, {each}", np.asarray(source[each])) for each in names]
        available = ", ".join(source)
    else:
        if len(names) == 1:
            return [(option, np.asarray(source))]
        available = "one array"
    raise CalibrationError(
        "every input of the model needs an array of the same name",
        where=option,
        expected=", ".join(names),
        got=available,
    )


def _arranged(
    array: NDArray[Any], spec: InputSpec, steps: Preprocessing, where: str
) -> NDArray[Any]:
    """A view of ``array`` with channels first, checked against the model's input."""
    if array.dtype.kind not in "biuf":
        raise CalibrationError("array is not numeric", where=where, got=array.dtype)
    if array.ndim == 0 or len(array) == 0:
        raise CalibrationError(
            "no samples", where=where, expected=f"samples {spec}", got=list(array.shape)
        )
    if spec.dtype.kind in "iub" and array.dtype.kind == "f":
        raise CalibrationError(
            "array has the wrong dtype", where=where, expected=spec.dtype, got=array.dtype
        )
    first, last = array, np.moveaxis(array, -1, 1) if array.ndim >= 3 else array
    result, other = (last, first) if steps.layout == "nhwc" else (first, last)
    if array.ndim == len(spec.shape) - 1 >= 3 and spec.shape[1] == 1:
        result = array[:, np.newaxis]
    if not spec.accepts(result.shape[1:]):
        hint = "nchw" if steps.layout == "nhwc" else "nhwc"
        fits = f" (try --layout {hint})" if spec.accepts(other.shape[1:]) else ""
        raise CalibrationError(
            f"samples do not fit the model's input {spec.name!r}",
            where=where,
            expected=spec,
            got=f"[{', '.join(map(str, result.shape))}]{fits}",
        )
    if spec.dtype.kind == "f" and steps.scales:
        steps.check(result.shape[1] if result.ndim > 1 else 1, where)
    return result


def _check_finite(array: NDArray[Any], spec: InputSpec, where: str) -> None:
    if array.dtype.kind != "f":
        return
    for rows in _chunks(np.arange(len(array)), array):
        with np.errstate(over="ignore"):
            values = array[rows].astype(np.float32).reshape(len(rows), -1)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise CalibrationError(
                f"NaN or Inf in samples for input {spec.name!r}",
                where=f"{where}, sample {rows[int(np.argmax(bad))]}",
                expected="finite numbers within float32",
            )


def _chunks(index: NDArray[np.int64], array: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Slices of ``index`` that keep a copy of their rows near 16 MiB."""
    row = max(1, array.dtype.itemsize * math.prod(array.shape[1:]))
    size = max(1, _CHUNK_BYTES // row)
    for start in range(0, len(index), size):
        yield index[start : start + size]


def check_seed(seed: int) -> None:
    """Raise `OptionError` unless ``seed`` is one that numpy and torch take."""
    if not 0 <= seed <= MOST_SEED:
        raise OptionError("--seed out of range", expected=f"0 to {MOST_SEED}", got=seed)


def _check_count(count: int | None) -> None:
    if count is not None and count <= 0:
        raise OptionError("number of samples out of range", expected="at least 1", got=count)
