"""The points of an exploration: what other sizes of the same network reach."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from subbyte.errors import OptionError

POINTS_FILE = "points.jsonl"
_NUMBERS = ("bits", "bytes", "kl")
_MAY_BE_THERE = ("agreement", "metric", "latency_ms")


def read_points(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The points that ``subbyte explore`` left in ``folder``, by size.

    Each line of ``points.jsonl`` is an object: name, file, bits (a weight), bytes (of the
    file), kl (nats; for other outputs than class scores the relative squared error),
    options, and where they were measured agreement and metric (percent) and latency_ms.

    Raises:
        OptionError: no such file, a line that is no such object, a number that is none.
    """
    path = Path(folder) / POINTS_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OptionError(
            "cannot read the points",
            where=str(path),
            expected="a folder of subbyte explore",
            got=error.strerror or str(error),
        ) from error
    except UnicodeDecodeError as error:
        raise OptionError("points are no text", where=str(path)) from error
    points = [
        _point(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line
    ]
    return sorted(points, key=lambda point: float(point["bytes"]))


def _point(line: str, where: str) -> dict[str, Any]:
    try:
        point = json.loads(line)
    except json.JSONDecodeError as error:
        raise OptionError("point is not JSON", where=where, got=error) from error
    if not isinstance(point, dict) or not isinstance(point.get("name"), str):
        raise OptionError("point without a name", where=where, expected="an object with a name")
    for key in (*_NUMBERS, *_MAY_BE_THERE):
        value = point.get(key)
        if value is None and key in _MAY_BE_THERE:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(float(value or 0)):
            raise OptionError(f"point's {key}", where=where, expected="a number", got=value)
    options = point.get("options", {})
    if not isinstance(options, dict):
        raise OptionError("point's options", where=where, expected="an object", got=options)
    found: dict[str, Any] = {"name": point["name"], "file": str(point.get("file", ""))}
    found |= {key: point.get(key) for key in (*_NUMBERS, *_MAY_BE_THERE)}
    return found | {"options": options}
