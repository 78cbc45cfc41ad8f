"""What people want to know about a model: how accurate, how large, how fast.

`inspect` reads ONNX files and is loaded when first used: `evaluate` and `bench` run where
only numpy and onnxruntime are installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from subbyte.report.benchmark import bench
from subbyte.report.evaluation import evaluate

if TYPE_CHECKING:
    from subbyte.report.inspection import inspect as inspect

__all__ = ["bench", "evaluate", "inspect"]


def __getattr__(name: str) -> Any:
    if name != "inspect":
        raise AttributeError(f"module 'subbyte.report' has no attribute {name!r}")
    from subbyte.report.inspection import inspect

    return inspect
