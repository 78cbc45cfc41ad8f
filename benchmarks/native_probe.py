"""How long a file takes to load, and the most memory that it takes.

python -m benchmarks.native_probe FILE.onnx native|portable

Meant for a fresh process: prints, as JSON, the milliseconds that loading takes with one
thread, and the MB by which loading and one run raise the most memory that the process has had.
"""

from __future__ import annotations

import json
import resource
import sys
import time

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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
