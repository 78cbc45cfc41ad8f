"""Inputs and outputs of a model: names, shapes, dtypes, and the axis of the batch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from subbyte.errors import OptionError

Dimension = int | str | None
_LETTERS = ("N", "B", "n", "b")
_BATCH_NAME = re.compile(r"(.*[^a-z])?batch([^a-z].*|size)?", re.IGNORECASE)


@dataclass(frozen=True)
class InputSpec:
    """One input of a model: a dimension is a number, or a name (None) where it is free.

    ``axis``: the axis of the batch, by default the first. None for an input that is no sample but
    the same for a whole batch, as every scalar is.
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: np.dtype[Any]
    axis: int | None = 0

    def __post_init__(self) -> None:
        if not self.shape:
            object.__setattr__(self, "axis", None)

    @property
    def rest(self) -> tuple[Dimension, ...]:
        """The shape without the batch."""
        return tuple(d for place, d in enumerate(self.shape) if place != self.axis)

    @property
    def baked(self) -> int | None:
        """The only batch size that the shape allows; None if it is free, or there is none."""
        size = None if self.axis is None else self.shape[self.axis]
        return size if isinstance(size, int) else None

    def accepts(self, sample_shape: Sequence[int]) -> bool:
        """Whether a sample of this shape (batch left out) fits."""
        return len(self.rest) == len(sample_shape) and all(
            not isinstance(want, int) or want == got
            for want, got in zip(self.rest, sample_shape, strict=True)
        )

    def __str__(self) -> str:
        shown = ["?" if size is None else str(size) for size in self.shape]
        if self.axis is not None:
            shown[self.axis] = "N"
        return "[" + ", ".join(shown) + "]"


def channel_axis(spec: InputSpec) -> int:
    """The axis of the channels: 3 of an input [N, H, W, C] of images, 1 of any other.

    Four dimensions are [N, H, W, C] where only the last one is a number of color channels: 1,
    3 or 4.
    """
    colors = (1, 3, 4)
    last = len(spec.shape) == 4 and spec.shape[3] in colors and spec.shape[1] not in colors
    return 3 if last else 1


def find_axes(specs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """``specs`` with the batch axis that the declared shapes tell.

    A dimension that is named for the batch (``batch_size``), or as the first free
    dimension of another input, is it; else the first one, where it is free. Where every
    input begins with a number, and these numbers cannot be a batch (`_later_batch`), it is
    the dimension that all inputs share by name, or that is named N or B. Beside inputs
    with a free batch an input of fixed size has none, and one whose first dimension is a
    number has it on the first axis that is free. If no batch is free, it is the first
    dimension of the first input, and of the others the first one of that size; one of a
    single dimension beside wider ones has none.
    """
    first = next((spec for spec in specs if spec.shape and not _fixed(spec.shape[0])), None)
    wide = [spec for spec in specs if len(spec.shape) > 1] or [s for s in specs if s.shape]
    symbol = first.shape[0] if first is not None else None
    free = first is not None or any(_named(spec.shape, None) for spec in specs)
    if not free:
        symbol = _later_batch([spec.shape for spec in wide])
        free = symbol is not None
    lengths: set[Dimension] = {
        size for spec in specs for size in spec.shape[1:] if isinstance(size, str)
    }
    found = []
    for spec in specs:
        if free:
            axis = _free_axis(spec.shape, symbol, lengths - {symbol})
        else:
            batch = wide[0].shape[0] if spec in wide else None
            axis = next((i for i, size in enumerate(spec.shape) if size == batch), None)
        found.append(replace(spec, axis=axis))
    return tuple(found)


def set_axes(
    specs: Sequence[InputSpec], axes: Mapping[str, int | None] | None
) -> tuple[InputSpec, ...]:
    """``specs`` with the axes that a user names.

    Raises:
        OptionError: no such input, no such axis.
    """
    axes = axes or {}
    for name in axes:
        check_name(name, specs, "`batch_axes`")
    for spec in specs:
        axis = axes.get(spec.name)
        if axis is not None and not (_whole(axis) and 0 <= axis < len(spec.shape)):
            raise OptionError(
                f"input {spec.name!r} has no such axis",
                where="`batch_axes`",
                expected=f"0 to {len(spec.shape) - 1}, or none" if spec.shape else "none",
                got=axis,
            )
    return tuple(
        replace(spec, axis=axes[spec.name]) if spec.name in axes else spec for spec in specs
    )


def check_name(name: str, specs: Sequence[InputSpec], option: str) -> None:
    """Raise `OptionError` unless the model has an input of this name."""
    names = [spec.name for spec in specs]
    if name not in names:
        raise OptionError(
            "the model has no such input", where=option, expected=", ".join(names), got=name
        )


def check_once(names: Sequence[str], option: str) -> None:
    """Raise `OptionError` if an option names an input more than once."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError(f"input {twice!r} is given twice", where=option, expected="once")


def baked_batch(specs: Sequence[InputSpec]) -> int | None:
    """The only batch size that the inputs allow; None if any will do."""
    return next((spec.baked for spec in specs if spec.baked is not None), None)


def _whole(axis: object) -> bool:
    return isinstance(axis, int | np.integer) and not isinstance(axis, bool)


def _fixed(size: Dimension) -> bool:
    return isinstance(size, int)


def _named(shape: Sequence[Dimension], symbol: Dimension) -> list[int]:
    """The axes that bear the batch's name."""
    return [
        axis
        for axis, size in enumerate(shape)
        if isinstance(size, str) and (size == symbol or _BATCH_NAME.fullmatch(size))
    ]


def _later_batch(shapes: Sequence[Sequence[Dimension]]) -> str | None:
    """The name of a batch that is not the first dimension of any of ``shapes``.

    Inputs that all begin with 1 have a baked batch of 1 there, and a free dimension behind it is a
    length. So have inputs that begin with the same number, unless a dimension is named N or B.
    """
    firsts = {shape[0] for shape in shapes}
    if not shapes or firsts == {1}:
        return None
    names = {size for shape in shapes for size in shape if isinstance(size, str)}
    letters = [name for name in names if name in _LETTERS]
    shared = [name for name in names if all(name in shape for shape in shapes)]
    likely = letters or (shared if len(firsts) > 1 else [])
    return likely[0] if len(likely) == 1 else None


def _free_axis(
    shape: Sequence[Dimension], symbol: Dimension, lengths: Collection[Dimension]
) -> int | None:
    """The batch axis of an input beside others (or itself) whose batch is free."""
    named = _named(shape, symbol)
    if len(named) == 1 or 0 in named:
        return named[0]
    if shape and not _fixed(shape[0]):
        return 0
    open_axes = [axis for axis, size in enumerate(shape) if not _fixed(size)]
    likely = [axis for axis in open_axes if shape[axis] not in lengths] or open_axes
    return likely[0] if likely else None
