"""Networks as people deploy them now, with random weights: for coverage and speed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.packages.inputs import Case, Inputs, alternate


def names(script: Path) -> list[str]:
    """What ``nets.py`` can make."""
    return list(runpy.run_path(str(script))["NETS"])


def case(script: Path, name: str, cache: Path) -> Case:
    """One network of ``nets.py``, made in the cache where it is not there yet."""
    folder = cache / "zoo" / name
    if not (folder / f"{name}.onnx").exists():
        subprocess.run([sys.executable, script, folder, name], check=True, capture_output=True)
    with np.load(next(folder.glob("calib_*.npz"))) as z:
        fit, test = alternate(z["x"], "x")
    about = f"synthetic: noise of {fit['x'].shape[-1]} pixels"
    return Case(f"zoo_{name}", "random weights", folder / f"{name}.onnx", Inputs(about, fit, test))
