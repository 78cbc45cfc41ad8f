"""Arrays that a user gave, fitted to a model's inputs: which are samples, along which axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data.preprocessing import Preprocessing
from subbyte.data.specs import InputSpec, channel_axis
from subbyte.errors import CalibrationError

Array = NDArray[Any]
CHUNK_BYTES = 1 << 24
_NUMBERS = "biuf"


@dataclass(frozen=True)
class Part:
    """The values of one input.

    ``array``: samples [N, ...], with the batch axis first wherever the model has it. Samples for an
    input without a batch axis are handed over one at a time. The array of a ``fixed`` input has the
    model's shape; its batch axis, if there is one, has size 1 or the model's size.
    """

    spec: InputSpec
    array: Array
    fixed: bool = False

    @property
    def channel_axis(self) -> int:
        """The axis of ``array`` [N, ...] that has the channels."""
        return channel_axis(self.spec) if self.spec.axis == 0 else 1

    @property
    def single(self) -> bool:
        """Whether the model takes one sample at a time."""
        return not self.fixed and self.spec.axis is None

    def batch(self, count: int) -> Array:
        """The values of a ``fixed`` input for a batch of ``count`` samples."""
        array, axis = self.array, self.spec.axis
        if axis is not None and array.shape[axis] == 1:
            array = np.repeat(array, count, axis=axis)
        # Of a scalar `ascontiguousarray` would make a row.
        return np.asarray(array, dtype=self.spec.dtype, order="C")


@dataclass(frozen=True)
class InputChoice:
    """A user's decisions about a network's inputs, by name. Nothing decided: as declared.

    ``axes``: the batch axis of an input (None: it has none). ``folded``: the inputs that become
    constants of the network. ``record``: of the preprocessing, for the metadata of a file
    (`Preprocessing.record`).
    """

    axes: Mapping[str, int | None] = field(default_factory=dict)
    folded: Mapping[str, Part] = field(default_factory=dict)
    record: str | None = None


def fit_arrays(
    named: Sequence[tuple[str, Array]],
    specs: Sequence[InputSpec],
    steps: Preprocessing,
    certain: Sequence[str] = (),
) -> list[Part]:
    """One part a spec.

    ``named``: (the name of the input in errors, array). ``certain``: the inputs whose batch axis a
    user named.

    Raises:
        CalibrationError: wrong shape or dtype, no samples, different numbers of samples.
    """
    parts = []
    for (where, array), spec in zip(named, specs, strict=True):
        _check_kind(array, spec, where)
        row = _row(array, spec) if len(specs) > 1 else None
        parts.append(row or _part(array, spec, steps, where))
    count = _sample_count(parts)
    batched = any(not part.fixed and not part.single for part in parts)
    result = []
    for (where, array), part in zip(named, parts, strict=True):
        if not part.fixed and len(part.array) not in (1, count) and part.spec.name not in certain:
            part = _other_axis(array, part, steps, count, where)
        if not part.fixed and len(part.array) == 1 < count:
            part = _alike(part)
        elif part.single and batched and (part.array == part.array[:1]).all():
            part = replace(part, array=part.array[0], fixed=True)
        result.append(part)
    _check_counts({at: p for (at, _), p in zip(named, result, strict=True)})
    return result


def _check_counts(parts: Mapping[str, Part]) -> None:
    """Raise `CalibrationError` unless all samples are as many, and good."""
    counts = {where: len(part.array) for where, part in parts.items() if not part.fixed}
    if len(set(counts.values())) > 1:
        raise CalibrationError(
            "inputs differ in their number of samples",
            expected="`batch_axes={'NAME': K}` for an input with its samples on axis K, "
            "`set_inputs={'NAME': VALUE}` for one that is the same for all samples",
            got=counts,
        )
    if not counts:
        raise CalibrationError(
            "no samples", where=", ".join(parts), expected="one input with samples at least"
        )
    for where, part in parts.items():
        check_values(part, where)


def fit_fixed(array: Array, spec: InputSpec, where: str) -> Part:
    """The part of an input that has the same value in every batch.

    ``array`` has the shape of the model's input, with or without the batch axis; or it is one
    number for all entries; or it has as many numbers as there are entries.

    Raises:
        CalibrationError: wrong shape, dtype or values.
    """
    _check_kind(array, spec, where)
    rest = [size if isinstance(size, int) else -1 for size in spec.rest]
    row = [1 if spec.axis is None else spec.baked or 1]
    if _is_whole(array, spec) and (spec.axis is None or array.shape[spec.axis] in (1, *row)):
        value = array
    elif spec.axis is not None and spec.accepts(array.shape):
        value = np.expand_dims(array, spec.axis)
    elif -1 not in rest and array.ndim <= 1 and array.size in (1, math.prod(rest)):
        value = np.broadcast_to(array.reshape(-1), (math.prod(rest),)).reshape(rest)
        value = value if spec.axis is None else np.expand_dims(value, spec.axis)
    else:
        raise CalibrationError(
            f"value does not fit the model's input {spec.name!r}",
            where=where,
            expected=f"{spec} with N = 1" if spec.axis is not None else spec,
            got=_shown(array),
        )
    part = Part(spec, np.asarray(value, order="C"), fixed=True)
    check_values(part, where)
    return part


def check_values(part: Part, where: str) -> None:
    """Raise `CalibrationError`, with the sample, for values that the model's dtype cannot hold."""
    array, dtype = part.array, part.spec.dtype
    if array.dtype.kind == "b" or (array.dtype == dtype and dtype.kind != "f"):
        return
    if array.dtype.kind in "iu" and dtype.kind == "f":
        return  # float32 holds every integer, to a few digits
    rows = array.reshape(1, *array.shape) if part.fixed else array
    for index in chunks(np.arange(len(rows)), rows):
        values = rows[index].reshape(len(index), -1)
        bad = ~_held(values, dtype).all(axis=1)
        if bad.any():
            at = where if part.fixed else f"{where}, sample {index[int(np.argmax(bad))]}"
            what = "NaN or Inf" if dtype.kind == "f" else f"values outside {dtype}"
            kind = "the value" if part.fixed else "samples"
            raise CalibrationError(
                f"{what} in {kind} for input {part.spec.name!r}",
                where=at,
                expected="finite numbers within float32" if dtype.kind == "f" else _range(dtype),
            )


def chunks(index: NDArray[np.int64], array: Array) -> Iterator[NDArray[np.int64]]:
    """Slices of ``index`` that keep a copy of their rows near 16 MiB."""
    row = max(1, array.dtype.itemsize * math.prod(array.shape[1:]))
    size = max(1, CHUNK_BYTES // row)
    for start in range(0, len(index), size):
        yield index[start : start + size]


def _held(values: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(np.isfinite(values.astype(np.float32)))
    low, high = _limits(dtype)
    return np.asarray((values >= low) & (values <= high))


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _range(dtype: np.dtype[Any]) -> str:
    return "{} to {}".format(*_limits(dtype))


def _part(array: Array, spec: InputSpec, steps: Preprocessing, where: str) -> Part:
    """``array`` as the samples (or the value) of one input, by its shape alone."""
    if array.size == 0 or (array.ndim == 0 and spec.axis is not None):
        raise CalibrationError(
            "no samples", where=where, expected=f"samples {spec}", got=list(array.shape)
        )
    if spec.axis is None or (spec.baked or 0) > 1:
        part = _without_axis(array, spec)
        if part is not None:
            return part
    axis = spec.axis
    stacked = axis is not None and array.ndim == len(spec.shape) + 1
    if stacked and axis is not None and array.shape[1 + axis] == 1:
        array = array.squeeze(1 + axis)
    elif axis:
        _check_fit(np.moveaxis(array, axis, 0) if array.ndim > axis else array, spec, array, where)
        array = np.moveaxis(array, axis, 0)
    else:
        array = _channels_in_place(array, spec, steps, where)
    _check_fit(array, spec, array, where)
    part = Part(spec, array)
    if spec.dtype.kind == "f" and steps.scales:
        steps.check(array.shape[part.channel_axis] if array.ndim > 1 else 1, where)
    return part


def _row(array: Array, spec: InputSpec) -> Part | None:
    """The part of an array that lacks the batch axis of its input; None for any other."""
    if spec.axis is None or not spec.accepts(array.shape):
        return None
    return Part(spec, np.expand_dims(array, spec.axis), fixed=True)


def _without_axis(array: Array, spec: InputSpec) -> Part | None:
    """The part of an input that has no batch; None where the array has another shape."""
    bare = replace(spec, axis=None)
    if spec.axis is None and _is_whole(array, bare):
        return Part(bare, array, fixed=True)
    ones = (1,) * len(bare.shape)
    if spec.axis is None and array.size == 1 and array.ndim <= 1 and bare.accepts(ones):
        return Part(bare, array.reshape(ones), fixed=True)
    if bare.accepts(array.shape[1:]) and array.ndim:
        return Part(bare, array)
    if bare.shape == (1,) and array.ndim == 1:
        return Part(bare, array[:, None])
    return None


def _is_whole(array: Array, spec: InputSpec) -> bool:
    return replace(spec, axis=None).accepts(array.shape)


def _channels_in_place(array: Array, spec: InputSpec, steps: Preprocessing, where: str) -> Array:
    """A view of ``array`` [N, ...] with its channels where the model has them."""
    axis = channel_axis(spec)
    if array.ndim == len(spec.shape) - 1 >= 3 and spec.shape[axis] == 1:
        return np.expand_dims(array, axis)
    if array.ndim < 3:
        return array
    own, other = ("nchw", "nhwc") if axis == 1 else ("nhwc", "nchw")
    moved = np.moveaxis(array, -1, 1) if axis == 1 else np.moveaxis(array, 1, -1)
    views = {own: array, other: moved}
    result = views[steps.layout or own]
    if not spec.accepts(result.shape[1:]):
        for layout, view in views.items():
            if spec.accepts(view.shape[1:]):
                raise _unfit(spec, where, _shown(result), f"try `layout={layout}`")
    return result


def _check_fit(array: Array, spec: InputSpec, shown: Array, where: str) -> None:
    if array.ndim == 0 or not spec.accepts(array.shape[1:]):
        raise _unfit(spec, where, _shown(shown))


def _unfit(spec: InputSpec, where: str, got: str, hint: str | None = None) -> CalibrationError:
    what = f"samples do not fit the model's input {spec.name!r}"
    return CalibrationError(what, where=where, expected=spec, got=got, hint=hint)


def _shown(array: Array) -> str:
    return f"[{', '.join(map(str, array.shape))}]"


def _check_kind(array: Array, spec: InputSpec, where: str) -> None:
    if array.dtype.kind not in _NUMBERS:
        raise CalibrationError("array is not numeric", where=where, got=array.dtype)
    if spec.dtype.kind in "iub" and array.dtype.kind == "f":
        raise CalibrationError(
            "array has the wrong dtype", where=where, expected=spec.dtype, got=array.dtype
        )


def _sample_count(parts: Sequence[Part]) -> int:
    """The number of samples that most inputs with several samples have; else the first input's."""
    counts = [len(part.array) for part in parts if not part.fixed]
    several = [count for count in counts if count > 1] or counts
    return Counter(several).most_common(1)[0][0] if several else 0


def _other_axis(array: Array, part: Part, steps: Preprocessing, count: int, where: str) -> Part:
    """The part along the one other free axis that has ``count`` entries, if there is one."""
    shape = part.spec.shape
    if array.ndim != len(shape):
        return part
    axes = [
        axis
        for axis, size in enumerate(shape)
        if not isinstance(size, int) and axis != part.spec.axis and array.shape[axis] == count
    ]
    if len(axes) != 1:
        return part
    return _part(array, replace(part.spec, axis=axes[0]), steps, where)


def _alike(part: Part) -> Part:
    """One sample beside many: the same in all of them."""
    array, axis = part.array, part.spec.axis
    return replace(
        part, array=array[0] if axis is None else np.moveaxis(array, 0, axis), fixed=True
    )
