"""Intervals of real numbers: the bounds of a value that hold before any sample is seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """The closed interval [low, high]."""

    low: float = -math.inf
    high: float = math.inf

    def clamp(self, low: float, high: float) -> Interval:
        """Image under clamping to [low, high]."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))

    def meet(self, other: Interval) -> Interval:
        """Intersection."""
        return Interval(max(self.low, other.low), min(self.high, other.high))

    def within(self, other: Interval) -> bool:
        """Whether ``other`` contains this interval."""
        return other.low <= self.low and self.high <= other.high


EVERYTHING = Interval()


def hull(intervals: Iterable[Interval]) -> Interval:
    """The least interval that contains all of them."""
    found = list(intervals)
    if not found:
        return EVERYTHING
    return Interval(min(i.low for i in found), max(i.high for i in found))
