"""The values of a graph as it grows, each with the array that it holds for one batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Value:
    """A value of the graph: a graph input, a constant, or what a node gives."""

    name: str
    array: Array


@dataclass(frozen=True)
class Constant:
    """A constant that a draft wants; ``weight``: later layers may share it."""

    array: Array
    weight: bool = False


Operand = Value | Constant | None


@dataclass(frozen=True)
class Draft:
    """A node that a recipe proposes; ``captured``: what its subgraphs read by name."""

    op_type: str
    inputs: Sequence[Operand]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    domain: str = ""
    captured: Sequence[Value] = ()


class Hopeless(Exception):
    """The pool holds nothing that the recipe could take."""


class Pool:
    """What nodes may read so far, and the draws that all recipes make."""

    def __init__(self, rng: random.Random, opset: int) -> None:
        self.rng = rng
        self.opset = opset
        self.values: list[Value] = []
        self.weights: list[Value] = []

    def chance(self, part: float) -> bool:
        """True in ``part`` of all cases."""
        return self.rng.random() < part

    def choice(self, options: Sequence[Any]) -> Any:
        """One of ``options``."""
        return self.rng.choice(options)

    def pick(self, kinds: str, fits: Callable[[Array], bool] = lambda array: True) -> Value:
        """A value whose dtype kind is one of ``kinds``; rather a late one. Raises `Hopeless`."""
        found = [v for v in self.values if v.array.dtype.kind in kinds and fits(v.array)]
        if not found:
            raise Hopeless
        late = found[-3:] if self.chance(0.7) else found
        return self.rng.choice(late)

    def floats(self, ranks: Sequence[int] = (), least: int = 0) -> Value:
        """A float value of one of the ``ranks`` (any), at least ``least`` axes."""
        return self.pick("f", lambda a: (not ranks or a.ndim in ranks) and a.ndim >= least)

    def generator(self) -> np.random.Generator:
        """A generator of arrays."""
        return np.random.default_rng(self.rng.getrandbits(32))

    def normal(self, shape: Sequence[int], dtype: Any = np.float32, size: float = 1) -> Constant:
        """Normal numbers."""
        return Constant((size * self.generator().standard_normal(shape)).astype(dtype))

    def positive(self, shape: Sequence[int], dtype: Any = np.float32) -> Constant:
        """Numbers between a half and two."""
        return Constant(self.generator().uniform(0.5, 2, shape).astype(dtype))

    def integers(
        self, low: int, high: int, shape: Sequence[int], dtype: Any = np.int64
    ) -> Constant:
        """Integers from ``low`` to below ``high``."""
        return Constant(self.generator().integers(low, high, shape).astype(dtype))

    def axis(self, array: Array, first: int = 0) -> int:
        """An axis of ``array`` from ``first`` on, counted from either end. Raises `Hopeless`."""
        if array.ndim <= first:
            raise Hopeless
        found = self.rng.randrange(first, array.ndim)
        return found - array.ndim if self.chance(0.4) else found

    def weight(self, shape: Sequence[int], dtype: Any = np.float32) -> Operand:
        """A weight of about unit gain; now and then one that another layer has already."""
        same = [v for v in self.weights if v.array.shape == tuple(shape)]
        same = [v for v in same if v.array.dtype == np.dtype(dtype)]
        if same and self.chance(0.6):
            return self.rng.choice(same)
        fan = max(int(np.prod(shape[1:])), 1)
        drawn = self.normal(shape, dtype, float(np.sqrt(2 / fan)))
        return Constant(drawn.array, weight=True)


def vector(*numbers: int) -> Constant:
    """A constant of int64 numbers."""
    return Constant(np.array(numbers, np.int64))
