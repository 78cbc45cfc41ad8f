"""How long a file takes to load, and the most memory that it takes.

python -m benchmarks.load_probe FILE.onnx native|portable

Linux only, meant for a fresh process: prints, as JSON, the milliseconds that loading takes with one
thread, and the MB by which loading and one run raise the most memory that the process has had.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

import subbyte


def main() -> None:
    """Load the file, run it once, print."""
    path, engine = sys.argv[1:]
    load = subbyte.load  # its imports are not what is measured
    before = _peak()
    start = time.perf_counter()
    model = load(path, engine="native" if engine == "native" else "portable", threads=1)
    seconds = time.perf_counter() - start
    shape = [size if isinstance(size, int) else 1 for size in model.inputs[0].shape]
    model.run(np.zeros(shape, model.inputs[0].dtype))
    print(json.dumps({"load_ms": 1000 * seconds, "peak_mb": _peak() - before}))


def _peak() -> float:
    # getrusage's figure would begin with that of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


if __name__ == "__main__":
    main()
