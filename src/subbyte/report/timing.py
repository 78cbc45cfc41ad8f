"""Where the time goes: one session's nodes, as ONNX Runtime's profiler sees them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import Engine
from subbyte.runtime.model import session_options
from subbyte.runtime.ort import open_session

_WARM_UP = 3
_SUFFIX = "_kernel_time"


def node_times(
    path: Path, feeds: Mapping[str, NDArray[Any]], runs: int, threads: int, engine: Engine
) -> list[dict[str, Any]]:
    """Milliseconds of every node over ``runs`` runs, in the order in which they run.

    The profiler counts whole microseconds: the mean of the middle half of the runs tells more
    than their median.

    Returns:
        Rows of name ("" where the file gives none), op, ms and share (percent of the sum).
        Profiling itself costs a few microseconds a node.
    """
    options = session_options(engine, threads)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(str(path), options)
        for _ in range(_WARM_UP + runs):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            key = (event["args"]["node_index"], name[: -len(_SUFFIX)], event["args"]["op_name"])
            times.setdefault(key, []).append(event["dur"] / 1000)
    means = {key: _middle(values[_WARM_UP:]) for key, values in times.items()}
    total = sum(means.values()) or 1.0
    return [
        {"name": name, "op": op, "ms": ms, "share": 100 * ms / total}
        for (_, name, op), ms in means.items()
    ]


def _middle(values: list[float]) -> float:
    """Mean of the middle half."""
    cut = len(values) // 4
    return float(np.mean(sorted(values)[cut : len(values) - cut]))
