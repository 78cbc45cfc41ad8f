"""The questions that people have about a model: how accurate, how large, how fast.

`inspect` and `make_report` read ONNX files and are loaded when first used: `evaluate` and `bench`
run where only numpy and onnxruntime are installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from subbyte.report.benchmark import Benchmark, bench
from subbyte.report.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from subbyte.report.inspection import Inspection as Inspection
    from subbyte.report.inspection import inspect as inspect
    from subbyte.report.page.document import Report as Report
    from subbyte.report.page.document import make_report as make_report
    from subbyte.report.page.rendering import render as render

__all__ = [
    "Benchmark",
    "Evaluation",
    "Inspection",
    "Report",
    "bench",
    "evaluate",
    "inspect",
    "make_report",
    "render",
]

_HOMES = {
    "Inspection": "inspection",
    "Report": "page.document",
    "inspect": "inspection",
    "make_report": "page.document",
    "render": "page.rendering",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'subbyte.report' has no attribute {name!r}")
    return getattr(importlib.import_module(f"subbyte.report.{_HOMES[name]}"), name)
