"""``points.jsonl``: the finished points of an exploration, an object a line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from subbyte.errors import OptionError
from subbyte.files import read_regular

POINTS_FILE = "points.jsonl"
_NUMBERS = ("bits", "bytes", "kl")
_MAY_BE_THERE = ("agreement", "lost", "metric", "latency_ms")


@dataclass(frozen=True)
class Point:
    """One file of an exploration, and how it compares with the float network.

    - ``name``; ``file``, ``plan``: names of files in the exploration's folder;
    - ``bits``: per weight; ``bytes``: of the file;
    - ``kl``: divergence from the float network on the samples held back, in nats; for other outputs
      than class scores the relative squared error;
    - ``agreement``: percent of samples with the same best class; ``lost``: percentage points of
      accuracy, as the float network's own probabilities expect; None where there are no class
      scores;
    - ``proof``: `Proof.document`;
    - ``options``: the options that the point was made with;
    - ``latency_ms``: one sample, one thread, native kernels; None where not measured;
    - ``metric``: a figure on other samples, percent; None where not measured.
    """

    name: str
    file: str
    plan: str | None
    bits: float
    bytes: int
    kl: float
    agreement: float | None = None
    lost: float | None = None
    proof: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None
    metric: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The point as its line in ``points.jsonl``."""
        optional = ("latency_ms", "metric")
        return {k: v for k, v in vars(self).items() if k not in optional or v is not None}


def read_points(folder: Path, finite: bool = True) -> list[Point]:
    """The points in ``folder``, as `subbyte.compression.exploration.explore.explore` wrote them.

    ``finite``: refuse NaN and infinities. Outputs that have such give a divergence that has too.

    Raises:
        OptionError: no such file, a line that is no such object, a number that is none.
    """
    path = folder / POINTS_FILE
    try:
        lines = read_regular(path).decode().splitlines()
    except OSError as error:
        raise OptionError(
            "cannot read the points",
            where=str(path),
            expected="a folder of subbyte explore",
            got=error.strerror or str(error),
        ) from error
    except UnicodeDecodeError as error:
        raise OptionError("points are no text", where=str(path)) from error
    return [
        _point(line, f"{path}, line {number}", finite)
        for number, line in enumerate(lines, 1)
        if line
    ]


def _point(line: str, where: str, finite: bool) -> Point:
    try:
        point: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise OptionError(
            "not a list of points: a line is not JSON", where=where, got=error
        ) from error
    if not isinstance(point, dict) or not isinstance(point.get("name"), str):
        raise OptionError("point without a name", where=where, expected="an object with a name")
    if not isinstance(point.setdefault("file", ""), str):
        raise OptionError("point's file", where=where, expected="a name", got=point["file"])
    for key in (*_NUMBERS, *_MAY_BE_THERE):
        value = point.get(key)
        if value is None and key in _MAY_BE_THERE:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (finite and not math.isfinite(float(value or 0))):
            raise OptionError(f"point's {key}", where=where, expected="a number", got=value)
    for key in ("options", "proof"):
        value = point.get(key, {})
        if not isinstance(value, dict):
            raise OptionError(f"point's {key}", where=where, expected="an object", got=value)
    said = point.get("proof", {}).get("warnings", [])
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise OptionError("point's warnings", where=where, expected="a list of texts", got=said)
    known = (each.name for each in fields(Point))
    return Point(plan=point.pop("plan", None), **{k: point[k] for k in known if k in point})
