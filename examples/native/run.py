"""Run a compressed file on subbyte's kernels, through ONNX Runtime's public interface alone.

    python examples/native/run.py MODEL.onnx "$(subbyte library-path)"

Nothing of subbyte is imported: the library and the file are all that is needed.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def main() -> None:
    """Load library and file, run them on random numbers, print the outputs' shapes and sums."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} MODEL.onnx LIBRARY")
    model, library = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {}
    for value in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in value.shape]
        feeds[value.name] = rng.standard_normal(shape, np.float32)
    for value, array in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        print(value.name, list(array.shape), f"{float(array.sum()):.6g}")


if __name__ == "__main__":
    main()
