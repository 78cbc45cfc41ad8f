"""The README's picture: accuracy lost against size, of whole explorations, as an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.records import Record

# Networks and colours; the worst cases are in it as well as the best.
_LINES = {
    "resnet20": "#1f77b4",
    "densenet40": "#2ca02c",
    "kwt1": "#9467bd",
    "espnet": "#8c564b",
    "mobilenet_v1_025": "#d62728",
    "yolo_nano_voc": "#ff7f0e",
}
_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 24, 52
_SMALLER = (4.0, 26.0)
_LOST = (-1.5, 12.0)


def tradeoff_picture(records: Sequence[Record]) -> str:
    """A line a network: points of its metric lost, against how many times smaller the file is.

    ``records``: of `benchmarks.tradeoffs`. Points beyond the axes are left out.
    """
    found = {record["network"]: record for record in records}
    parts = [*_frame(), *_grid()]
    for place, (name, colour) in enumerate(_LINES.items()):
        parts += _line(found[name], colour, place)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13" fill="#333">\n'
        "<title>Points of accuracy lost against file size</title>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _frame() -> list[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    height = (_TOP + _HEIGHT - _BOTTOM) / 2
    return [
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(middle, _HEIGHT - 12, "file, times smaller than float", "middle"),
        _text(18, height, "points lost", "middle", f' transform="rotate(-90 18 {height:g})"'),
    ]


def _grid() -> list[str]:
    parts = []
    for lost in range(0, 13, 2):
        y = _down(lost)
        parts.append(
            _stroke(f"M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}", "#888" if lost == 0 else "#ddd")
        )
        parts.append(_text(_LEFT - 8, y + 4, str(lost), "end"))
    for smaller in range(5, 26, 5):
        x = _across(smaller)
        parts.append(_stroke(f"M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", "#ddd"))
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{smaller}x", "middle"))
    return parts


def _line(record: Record, colour: str, place: int) -> list[str]:
    float_bytes, metric = record["float"]["file_bytes"], record["float"]["metric"]
    points = sorted(
        (float_bytes / point["file_bytes"], metric - point["metric"]) for point in record["points"]
    )
    shown = [
        (_across(x), _down(y))
        for x, y in points
        if _SMALLER[0] <= x <= _SMALLER[1] and _LOST[0] <= y <= _LOST[1]
    ]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in shown)
    parts = [_stroke(f"M{path}", colour, width=2)]
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in shown]
    x, y = _WIDTH - _RIGHT + 16, _TOP + 14 + 22 * place
    label = f"{record['network']}, {record['metric']} {metric:.1f}"
    return [*parts, _stroke(f"M{x} {y - 4}h14", colour, width=3), _text(x + 20, y, label, "start")]


def _across(smaller: float) -> float:
    low, high = _SMALLER
    return _LEFT + (_WIDTH - _RIGHT - _LEFT) * (smaller - low) / (high - low)


def _down(lost: float) -> float:
    low, high = _LOST
    return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (lost - low) / (high - low)


def _stroke(path: str, colour: str, width: int = 1) -> str:
    return f'<path d="{path}" stroke="{colour}" stroke-width="{width}" fill="none"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
