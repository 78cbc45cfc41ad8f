"""Values that must share one scale and zero point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from subbyte.graph.islands.intervals import Interval, hull
from subbyte.graph.islands.operators import row_of
from subbyte.graph.quant_params import QuantParams

# Of a value that was zero in every sample.
_SCALE_OF_ZEROS = 1 / 255


@dataclass(frozen=True)
class CarriedValue:
    """A value carried as uint8, and the interval it may be clamped to before measuring."""

    name: str
    limit: Interval


@dataclass(frozen=True)
class Group:
    """Values with one `QuantParams`.

    A calibrator clamps each value to its own ``limit``, measures all of them together,
    and calls `params` with the range to be carried.
    """

    name: str
    values: tuple[CarriedValue, ...]
    limit: Interval

    @property
    def signed(self) -> bool:
        """Whether values below zero may matter."""
        return self.limit.low < 0

    def params(self, low: float, high: float) -> QuantParams:
        """Parameters that carry [low, high], never more than ``limit``.

        Zero point 0 where nothing lies below zero. Within the limit the saturation of a
        quantization does the work of a ReLU or a Clip.
        """
        if self.signed and low < 0:
            zero_point = _zero_point(low, high)
            scale = _scale(low, high, zero_point)
            above = 255 - zero_point
            scale = min(scale, -self.limit.low / zero_point, self.limit.high / above)
        else:
            scale, zero_point = min(high, self.limit.high) / 255, 0
        if not scale > 0:
            scale = _SCALE_OF_ZEROS
        return QuantParams(float(np.float32(scale)), zero_point)


def _zero_point(low: float, high: float) -> int:
    """The one with the least scale that carries all of [low, high], 1 to 254."""
    exact = int(255 * -low / (high - low))
    nearest = (min(max(zero_point, 1), 254) for zero_point in (exact, exact + 1))
    return min(nearest, key=lambda zero_point: _scale(low, high, zero_point))


def _scale(low: float, high: float, zero_point: int) -> float:
    return max(-low / zero_point, high / (255 - zero_point))


def group_values(nodes: Sequence[ir.Node], limits: Mapping[str, Interval]) -> tuple[Group, ...]:
    """Group the values of ``limits`` (in order), given the nodes that compute on uint8.

    Nodes that only move or select values keep their input's parameters. A concatenation
    shares its own with an input that nothing else reads, or that is a concatenation
    itself: such inputs lose nothing, and a chain of concatenations is not requantized
    again and again. Inputs of another sign, or with another clamp, stay apart.
    """
    union = _Union(limits)
    for node in nodes:
        if _shares(node, "input"):
            for output in node.outputs:
                union.join(node.inputs[0], output)
    for node in nodes:
        if _shares(node, "joined"):
            for value in node.inputs:
                if value is not None and _belongs_to_concat(value):
                    union.join_if_alike(value, node.outputs[0])
    return union.groups()


def _shares(node: ir.Node, what: str) -> bool:
    row = row_of(node)
    return row is not None and row.shares == what


def _belongs_to_concat(value: ir.Value) -> bool:
    producer = value.producer()
    if producer is not None and _shares(producer, "joined"):
        return True
    return all(_shares(node, "joined") for node in value.consumers())


class _Union:
    """Disjoint sets of value names, each with the hull of its limits."""

    def __init__(self, limits: Mapping[str, Interval]) -> None:
        self.limits = limits
        self.parent = {name: name for name in limits}
        self.limit = dict(limits)

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def join(self, a: ir.Value | None, b: ir.Value | None) -> None:
        first, second = self._roots(a, b)
        if first != second:
            self.parent[second] = first
            self.limit[first] = hull([self.limit[first], self.limit[second]])

    def join_if_alike(self, a: ir.Value | None, b: ir.Value | None) -> None:
        first, second = self._roots(a, b)
        one, two = self.limit[first], self.limit[second]
        if (one.low < 0) == (two.low < 0) and one.high == two.high:
            self.join(a, b)

    def _roots(self, a: ir.Value | None, b: ir.Value | None) -> tuple[str, str]:
        names = [value.name or "" if value is not None else "" for value in (a, b)]
        return self.find(names[0]), self.find(names[1])

    def groups(self) -> tuple[Group, ...]:
        members: dict[str, list[str]] = {}
        for name in self.parent:
            members.setdefault(self.find(name), []).append(name)
        return tuple(
            Group(root, tuple(CarriedValue(n, self.limits[n]) for n in names), self.limit[root])
            for root, names in members.items()
        )
