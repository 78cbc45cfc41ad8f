"""Charts as SVG that stands in a page: colours are the page's, text can be read aloud."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 88, 20, 20, 56
FONT = 13
_GLYPH = 0.58 * FONT
_SIZE = 6.0

Kind = Literal["point", "this", "float", "int8"]
Scale = Literal["linear", "log", "root"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """Something at (x, y); ``kind`` chooses its shape and colour."""

    label: str
    x: float
    y: float
    kind: Kind


@dataclass(frozen=True)
class Axis:
    """``root``: distances go as square roots, so that 0 has a place and small values room.

    The axis starts at ``least`` where that is given; no tick stands beyond ``most``.
    """

    title: str
    scale: Scale
    show: Callable[[float], str]
    most: float = math.inf
    least: float | None = None


def scatter(ident: str, title: str, marks: Sequence[Mark], x: Axis, y: Axis) -> str:
    """An SVG with every mark, points joined in the order of x; labels never overlap.

    A mark for whose label there is no room has none: a table has to go with the chart.
    """
    across = _Place(x, [mark.x for mark in marks], LEFT, WIDTH - RIGHT)
    up = _Place(y, [mark.y for mark in marks], HEIGHT - BOTTOM, TOP)
    places = [(across(mark.x), up(mark.y)) for mark in marks]
    parts = [*_axes(x, y, across, up), _line(marks, places), *_marks(marks, places)]
    described = f"{title}. " + "; ".join(
        f"{mark.label}: {x.show(mark.x)}, {y.show(mark.y)}" for mark in marks
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(title)}</title>'
        f'<desc id="{ident}-d">{escape(described)}</desc>{"".join(parts)}</svg>'
    )


class _Place:
    """A function from a value to a coordinate between ``start`` and ``end``."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        self.scale, self.most, self.start, self.end = axis.scale, axis.most, start, end
        low, high = min(values), max(values)
        if self.scale == "log":
            self.low, self.high = low / 1.25, high * 1.25
        elif self.scale == "root":
            self.low, self.high = 0.0, high * 1.1 or 1.0
        else:
            room = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
            self.low = low - room if axis.least is None else axis.least
            self.high = high + room
            if high <= axis.most < self.high:
                self.high = axis.most + 0.04 * (axis.most - self.low)

    def __call__(self, value: float) -> float:
        low, high, at = (self._even(v) for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def _even(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        return math.sqrt(value) if self.scale == "root" else value

    def ticks(self, gap: float) -> list[float]:
        """Round values whose places are at least ``gap`` apart, plain ones first."""
        kept: list[float] = [0.0] if self.scale == "root" else []
        for value in self._candidates():
            inside = self.low <= value <= min(self.high, self.most)
            if inside and all(abs(self(value) - self(other)) >= gap for other in kept):
                kept.append(value)
        return sorted(kept)

    def _candidates(self) -> list[float]:
        if self.scale == "linear":
            rough = (self.high - self.low) / 5
            step = 10 ** math.floor(math.log10(rough))
            step *= next(each for each in (1, 2, 5, 10) if each * step >= rough)
            first = math.ceil(self.low / step)
            return [step * (first + i) for i in range(12)]
        lowest = self.low or self.high / 1e4
        decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(self.high)) + 1)
        return [m * 10.0**d for m in (1, 5, 2, 3) for d in reversed(decades)]


def _axes(x: Axis, y: Axis, across: _Place, up: _Place) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in up.ticks(32):
        at = up(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_text(LEFT - 8, at + 4, y.show(value), "end"))
    for value in across.ticks(64):
        at = across(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(_text(at, bottom + 20, x.show(value), "middle"))
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, x.title, "middle", "title"))
    middle = (TOP + bottom) / 2
    turned = f' transform="rotate(-90 16 {middle})"'
    parts.append(_text(16, middle, y.title, "middle", "title", turned))
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick", more: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
        f"{escape(text)}</text>"
    )


def _line(marks: Sequence[Mark], places: Sequence[tuple[float, float]]) -> str:
    ours = sorted(place for mark, place in zip(marks, places, strict=True) if mark.kind == "point")
    if len(ours) < 2:
        return ""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in ours)
    return f'<path class="front" d="M{path}"/>'


def _marks(marks: Sequence[Mark], places: Sequence[tuple[float, float]]) -> list[str]:
    taken: list[Box] = [(x - _SIZE, y - _SIZE, x + _SIZE, y + _SIZE) for x, y in places]
    # The marks that stand for something are drawn last and named first.
    points = [i for i, mark in enumerate(marks) if mark.kind == "point"]
    others = [i for i, mark in enumerate(marks) if mark.kind != "point"]
    parts = [_SHAPES[marks[i].kind](*places[i]) for i in points + others]
    for i in others + points:
        found = _free(marks[i].label, *places[i], taken)
        if found is not None:
            box, anchor, x, y = found
            taken.append(box)
            parts.append(_text(x, y, marks[i].label, anchor, f"label {marks[i].kind}"))
    return parts


def _free(
    label: str, x: float, y: float, taken: Sequence[Box]
) -> tuple[Box, str, float, float] | None:
    """Where a label fits: its box, anchor and baseline; None where it does nowhere."""
    width = _GLYPH * len(label)
    for anchor, dx, dy in _TRIES:
        left = x + dx - {"start": 0.0, "end": width, "middle": width / 2}[anchor]
        box = (left, y + dy - FONT, left + width, y + dy + 3)
        inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
        if inside and not any(_overlap(box, other) for other in taken):
            return box, anchor, x + dx, y + dy
    return None


_TRIES = (
    *(("start", 11.0, 4.5), ("end", -11.0, 4.5), ("middle", 0.0, -12.0), ("middle", 0.0, 22.0)),
    *(("start", 9.0, -9.0), ("end", -9.0, -9.0), ("start", 9.0, 18.0), ("end", -9.0, 18.0)),
    *(("start", 14.0, -22.0), ("end", -14.0, -22.0), ("start", 14.0, 30.0), ("end", -14.0, 30.0)),
)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _circle(x: float, y: float) -> str:
    return f'<circle class="mark point" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


def _polygon(kind: Kind, corners: Sequence[tuple[float, float]]) -> Callable[[float, float], str]:
    def draw(x: float, y: float) -> str:
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
        return f'<polygon class="mark {kind}" points="{points}"/>'

    return draw


_SHAPES: Mapping[Kind, Callable[[float, float], str]] = {
    "point": _circle,
    "this": _polygon("this", [(0, -8), (8, 0), (0, 8), (-8, 0)]),
    "float": _polygon("float", [(-6, -6), (6, -6), (6, 6), (-6, 6)]),
    "int8": _polygon("int8", [(0, -7), (7, 6), (-7, 6)]),
}
