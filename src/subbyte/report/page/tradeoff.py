"""The points of an exploration: the same network at other sizes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from subbyte.compression.exploration import points_file

_KEYS = ("name", "file", "bits", "bytes", "kl", "agreement", "metric", "latency_ms")


def read_points(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The points that ``subbyte explore`` left in ``folder``, by size.

    Each is an object: name, file, bits (a weight), bytes (of the file), kl (nats; for other outputs
    than class scores the relative squared error), options. Agreement and metric (percent) and
    latency_ms are None where they were not measured.

    Raises:
        OptionError: as `points_file.read_points`.
    """
    points = [
        {key: getattr(point, key) for key in _KEYS} | {"options": dict(point.options)}
        for point in points_file.read_points(Path(folder))
    ]
    return sorted(points, key=lambda point: float(point["bytes"]))
