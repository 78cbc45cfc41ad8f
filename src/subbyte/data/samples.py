"""Samples: arrays in memory, preprocessed batch by batch on their way into a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.data.arrays import describe, read_array, read_headers, split_reference, to_array
from subbyte.data.fitting import InputChoice, Part, chunks, fit_arrays
from subbyte.data.given import SetInputs, given_parts
from subbyte.data.preprocessing import Preprocessing
from subbyte.data.specs import InputSpec, baked_batch, set_axes
from subbyte.errors import CalibrationError, OptionError

MOST_SEED = (1 << 32) - 1
BatchAxes = Mapping[str, int | None]


class Batch(dict[str, NDArray[Any]]):
    """Model input name -> array, of ``count`` samples."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], count: int) -> None:
        super().__init__(arrays)
        self.count = count


class Samples:
    """The samples a model is calibrated or measured on, one array per model input.

    Arrays keep the dtype they are stored in; `batches` converts only the arrays that it hands out.
    Make one with `as_samples`, which checks everything.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        preprocessing: Preprocessing,
        index: NDArray[np.int64] | None = None,
        folded: Sequence[Part] = (),
    ) -> None:
        self._parts, self._folded = tuple(parts), tuple(folded)
        self.preprocessing = preprocessing
        count = next(len(part.array) for part in parts if not part.fixed)
        self._index = np.arange(count) if index is None else index

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The model's inputs, each with the batch axis that its array has."""
        return tuple(part.spec for part in self._parts)

    @property
    def names(self) -> list[str]:
        """Names of the model inputs, in the model's order."""
        return [spec.name for spec in self.inputs]

    @property
    def fixed(self) -> dict[str, Part]:
        """The inputs that are the same in every batch, by name."""
        return {part.spec.name: part for part in self._parts if part.fixed}

    @property
    def choice(self) -> InputChoice:
        """The choice that the network has to be read with, to take these samples."""
        axes = {part.spec.name: part.spec.axis for part in self._parts}
        return InputChoice(axes, {part.spec.name: part for part in self._folded})

    @property
    def single(self) -> bool:
        """Whether batches are of one sample, because an input has no batch axis."""
        return any(part.single for part in self._parts)

    def feeds(self, names: Collection[str]) -> Batch:
        """All samples in one batch (one sample, if they are `single`), for a model with these
        inputs.

        The model may also take the inputs that were folded into another network.
        """
        batch = next(self.batches(len(self)))
        folded = {part.spec.name: part.batch(batch.count) for part in self._folded}
        known = {**batch, **folded}
        return Batch({name: known[name] for name in names if name in known}, batch.count)

    def baked(self, specs: Sequence[InputSpec]) -> int | None:
        """The only batch size that a model with these inputs takes; None if any will do."""
        axes = {part.spec.name: part.spec.axis for part in (*self._parts, *self._folded)}
        return baked_batch([dataclasses.replace(s, axis=axes.get(s.name)) for s in specs])

    @property
    def places(self) -> NDArray[np.int64]:
        """Where each of the samples stands in the arrays that they come from."""
        return self._index

    def __len__(self) -> int:
        return len(self._index)

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of up to ``size`` samples, in order (of one, if the samples are `single`).

        A float input gets `Preprocessing` and arrives in the dtype that the model asks for. An
        integer input arrives as stored, in the model's dtype. An input that is the same in every
        batch arrives as given, repeated along its batch axis.
        """
        size = 1 if self.single else size
        for start in range(0, len(self), size):
            rows = self._index[start : start + size]
            yield Batch({p.spec.name: self._convert(p, rows) for p in self._parts}, len(rows))

    def select(self, index: ArrayLike) -> Samples:
        """The samples at these positions (of this object), in this order."""
        rows = self._index[np.asarray(index, dtype=np.int64)]
        return Samples(self._parts, self.preprocessing, rows, self._folded)

    def folding(self, names: Collection[str]) -> Samples:
        """The same samples for a model that lacks these fixed inputs."""
        kept = [part for part in self._parts if part.spec.name not in names]
        gone = [part for part in self._parts if part.spec.name in names]
        for part in gone:
            if not part.fixed:
                raise CalibrationError(
                    f"input {part.spec.name!r} is the reference's alone",
                    expected=f"its value, as in --set-input {part.spec.name}=1",
                )
        return Samples(kept, self.preprocessing, self._index, (*self._folded, *gone))

    def compact(self) -> Samples:
        """The same samples, without the parts of the arrays that were not selected."""
        kept = [
            part if part.fixed else dataclasses.replace(part, array=part.array[self._index])
            for part in self._parts
        ]
        return Samples(kept, self.preprocessing, folded=self._folded)

    def first(self, count: int | None) -> Samples:
        """The first ``count`` samples; all of them if None or if there are fewer."""
        _check_count(count)
        return self if count is None else self.select(np.arange(min(count, len(self))))

    def take(self, count: int | None, seed: int = 0) -> Samples:
        """A random subset of ``count`` samples, in stored order, fixed by ``seed``.

        Random because data sets are often sorted by class. All samples if ``count`` is None or not
        less than their number.
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
            "inputs": [
                (p.spec.name, p.spec.shape, p.spec.dtype.str, p.spec.axis, p.fixed)
                for p in (*self._parts, *self._folded)
            ],
            "folded": len(self._folded),
            "preprocessing": dataclasses.asdict(self.preprocessing),
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for part in (*self._parts, *self._folded):
            array = part.array
            index = np.arange(len(array)) if part.fixed and array.ndim else self._index
            digest.update(f"{array.dtype.str}{(len(index), *array.shape[1:])}".encode())
            if part.fixed:
                digest.update(array.tobytes())
                continue
            for rows in chunks(index, array):
                digest.update(array[rows].tobytes())
        return digest.hexdigest()

    def _convert(self, part: Part, rows: NDArray[np.int64]) -> NDArray[Any]:
        if part.fixed:
            return part.batch(len(rows))
        spec, array = part.spec, part.array[rows]
        if spec.dtype.kind == "f":
            array = self.preprocessing.apply(array)
        array = array[0] if spec.axis is None else np.moveaxis(array, 0, spec.axis)
        return np.asarray(array, dtype=spec.dtype, order="C")


Source = str | os.PathLike[str] | ArrayLike | Mapping[str, ArrayLike] | Samples


def as_samples(
    source: Source,
    inputs: Sequence[InputSpec],
    preprocessing: Preprocessing | None = None,
    *,
    option: str = "calibration data",
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
) -> Samples:
    """Turn a user's data into `Samples` that fit the model's ``inputs``.

    ``source`` is ``FILE.npz[:array]``, ``FILE.npy``, an array [N, ...] (for a model with one
    input), a mapping from the model's input names to arrays, or `Samples`. An ``.npz`` whose arrays
    bear the names of the model's inputs feeds them all. Samples without a channel axis, [N, H, W],
    are taken by an input [N, 1, H, W].

    An array has its samples where the model's input has its batch; [N, 1, ...] is taken too, one
    array a call. Beside others an array without the batch axis, or of one sample, is the same for
    all samples.

    Args:
        set_inputs: values of inputs that are the same for all samples, by name, or texts
            ``NAME=16000``, ``NAME=1,2,3``, ``NAME=FILE.npy``, ``NAME=FILE.npz:array``. They are not
            preprocessed.
        batch_axes: by input name the axis of the batch, None for an input without one, where shapes
            do not tell.
        fold_inputs: the inputs of ``set_inputs`` become constants of the network that is
            compressed: the file does not have them any more.

    Raises:
        CalibrationError: unreadable file, no or unknown array name, wrong shape or dtype, no
            samples, different numbers of samples, NaN or Inf, integers that the model's dtype
            cannot hold.
        OptionError: scaling asked for a model with several float inputs; an input, an axis or a
            value that there is not.
    """
    if isinstance(source, Samples):
        if set_inputs or batch_axes or fold_inputs:
            raise OptionError(
                "Samples have their inputs already",
                expected="set_inputs, batch_axes and fold_inputs where they were made",
            )
        return source
    if fold_inputs and not set_inputs:
        raise OptionError("no input to fold", expected="--set-input NAME=VALUE")
    steps = Preprocessing() if preprocessing is None else preprocessing
    specs = set_axes(inputs, batch_axes)
    given = given_parts(set_inputs, specs)
    free = [spec for spec in specs if spec.name not in given]
    if not free:
        raise CalibrationError("no samples", where=option, expected="an input that is not set")
    named = _named_arrays(source, free, option)
    found = {p.spec.name: p for p in fit_arrays(named, free, steps, tuple(batch_axes or ()))}
    floats = [name for name, p in found.items() if p.spec.dtype.kind == "f" and not p.fixed]
    if steps.scales and len(floats) > 1:
        raise OptionError(
            "scale, mean and std need a model with one float input",
            expected="preprocessed arrays",
            got=f"inputs {', '.join(floats)}",
        )
    if not fold_inputs:
        found |= given
    parts = [found[spec.name] for spec in specs if spec.name in found]
    return Samples(parts, steps, folded=tuple(given.values()) if fold_inputs else ())


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
            return [
                (f"{option}, {each}", to_array(source[each], f"{option}, {each}")) for each in names
            ]
        available = ", ".join(source)
    else:
        if len(names) == 1:
            return [(option, to_array(source, option))]
        available = "one array"
    raise CalibrationError(
        "every input of the model needs an array of the same name, or a value by --set-input",
        where=option,
        expected=", ".join(names),
        got=available,
    )


def check_seed(seed: int) -> None:
    """Raise `OptionError` unless ``seed`` is one that numpy and torch take."""
    if not 0 <= seed <= MOST_SEED:
        raise OptionError("--seed out of range", expected=f"0 to {MOST_SEED}", got=seed)


def _check_count(count: int | None) -> None:
    if count is not None and count <= 0:
        raise OptionError("number of samples out of range", expected="at least 1", got=count)
