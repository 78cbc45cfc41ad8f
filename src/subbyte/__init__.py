"""subbyte: networks with 0.5 to 4 bit weights that run in any ONNX runtime.

The functions mirror the commands of the command line; each is loaded when first used,
so that ``import subbyte`` costs next to nothing and running a model never needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from subbyte._version import __version__ as __version__
from subbyte.extras import compress_extra

if TYPE_CHECKING:
    from subbyte import errors as errors
    from subbyte import methods as methods
    from subbyte import nn as nn
    from subbyte import train as train
    from subbyte.compression.api import compress as compress
    from subbyte.compression.api import explore as explore
    from subbyte.compression.api import plan as plan
    from subbyte.compression.proof.inline import inline_file as inline
    from subbyte.data import ImageOptions as ImageOptions
    from subbyte.data import InputSpec as InputSpec
    from subbyte.data import Preprocessing as Preprocessing
    from subbyte.data import Samples as Samples
    from subbyte.report import bench as bench
    from subbyte.report import evaluate as evaluate
    from subbyte.report import inspect as inspect
    from subbyte.report import make_report as make_report
    from subbyte.runtime import Model as Model
    from subbyte.runtime import library_path as library_path
    from subbyte.runtime import load as load

# Name here -> (module, name there).
_HOMES = {
    "ImageOptions": ("subbyte.data", "ImageOptions"),
    "InputSpec": ("subbyte.data", "InputSpec"),
    "Model": ("subbyte.runtime", "Model"),
    "Preprocessing": ("subbyte.data", "Preprocessing"),
    "Samples": ("subbyte.data", "Samples"),
    "bench": ("subbyte.report", "bench"),
    "compress": ("subbyte.compression", "compress"),
    "evaluate": ("subbyte.report", "evaluate"),
    "explore": ("subbyte.compression.api", "explore"),
    "inline": ("subbyte.compression.proof.inline", "inline_file"),
    "inspect": ("subbyte.report", "inspect"),
    "library_path": ("subbyte.runtime", "library_path"),
    "load": ("subbyte.runtime", "load"),
    "make_report": ("subbyte.report", "make_report"),
    "plan": ("subbyte.compression.api", "plan"),
}
_MODULES = ("errors", "methods", "nn", "train")

__all__ = [
    "ImageOptions",
    "InputSpec",
    "Model",
    "Preprocessing",
    "Samples",
    "__version__",
    "bench",
    "compress",
    "errors",
    "evaluate",
    "explore",
    "inline",
    "inspect",
    "library_path",
    "load",
    "make_report",
    "methods",
    "nn",
    "plan",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, there = _HOMES[name]
        with compress_extra(f"subbyte.{name}"):
            return getattr(importlib.import_module(module), there)
    if name in _MODULES:
        with compress_extra(f"subbyte.{name}"):
            return importlib.import_module(f"subbyte.{name}")
    raise AttributeError(f"module 'subbyte' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
