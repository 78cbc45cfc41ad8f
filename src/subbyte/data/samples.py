"""Samples: arrays in memory, preprocessed batch by batch on their way into a model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.data.fitting import InputChoice, Part, chunks
from subbyte.data.image_folder import ImageFolder
from subbyte.data.preprocessing import Preprocessing
from subbyte.data.specs import InputSpec, baked_batch
from subbyte.errors import CalibrationError, OptionError

MOST_SEED = (1 << 32) - 1


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
        folder: ImageFolder | None = None,
    ) -> None:
        self._parts, self._folded = tuple(parts), tuple(folded)
        self.preprocessing, self._folder = preprocessing, folder
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
        folded = {part.spec.name: part for part in self._folded}
        return InputChoice(axes, folded, self.preprocessing.record())

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

    @property
    def stored(self) -> int:
        """How many samples the arrays have that these come from."""
        return next(len(part.array) for part in self._parts if not part.fixed)

    @property
    def folder(self) -> ImageFolder | None:
        """The images that these samples are, in order; None for arrays."""
        return None if self._folder is None else self._folder.select(self._index)

    def title(self, place: int) -> str:
        """The name in messages of the sample at ``place`` (one of `places`)."""
        if self._folder is None:
            return f"sample {place}"
        return f"image {self._folder.chosen[place]}"

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
        return Samples(self._parts, self.preprocessing, rows, self._folded, self._folder)

    def folding(self, names: Collection[str]) -> Samples:
        """The same samples for a model that lacks these fixed inputs."""
        kept = [part for part in self._parts if part.spec.name not in names]
        gone = [part for part in self._parts if part.spec.name in names]
        for part in gone:
            if not part.fixed:
                raise CalibrationError(
                    f"input {part.spec.name!r} is the float network's alone",
                    expected=f"its value, as in `set_inputs={{'{part.spec.name}': 1}}`",
                )
        folded = (*self._folded, *gone)
        return Samples(kept, self.preprocessing, self._index, folded, self._folder)

    def compact(self) -> Samples:
        """The same samples, without the parts of the arrays that were not selected."""
        kept = [
            part if part.fixed else dataclasses.replace(part, array=part.array[self._index])
            for part in self._parts
        ]
        return Samples(kept, self.preprocessing, folded=self._folded, folder=self.folder)

    def first(self, count: int | None) -> Samples:
        """The first ``count`` samples; all of them if None or if there are fewer."""
        check_count(count)
        return self if count is None else self.select(np.arange(min(count, len(self))))

    def take(self, count: int | None, seed: int = 0) -> Samples:
        """A random subset of ``count`` samples, in stored order, fixed by ``seed``.

        Random because data sets are often sorted by class. All samples if ``count`` is None or not
        less than their number.
        """
        check_count(count)
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
            array = self.preprocessing.apply(array, part.channel_axis)
        array = array[0] if spec.axis is None else np.moveaxis(array, 0, spec.axis)
        return np.asarray(array, dtype=spec.dtype, order="C")


def check_seed(seed: int) -> None:
    """Raise `OptionError` unless ``seed`` is one that numpy and torch take."""
    if not 0 <= seed <= MOST_SEED:
        raise OptionError("`seed` out of range", expected=f"0 to {MOST_SEED}", got=seed)


def check_count(count: int | None) -> None:
    """Raise `OptionError` unless ``count`` is a number of samples, or None."""
    if count is not None and count <= 0:
        raise OptionError("number of samples out of range", expected="at least 1", got=count)
