"""subbyte: networks with 0.5 to 4 bit weights that run in any ONNX runtime.

The functions mirror the commands of the command line; each is loaded when first used,
so that ``import subbyte`` costs next to nothing and running a model never needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subbyte import errors as errors
    from subbyte.data import InputSpec as InputSpec
    from subbyte.data import Preprocessing as Preprocessing
    from subbyte.data import Samples as Samples
    from subbyte.report import bench as bench
    from subbyte.report import evaluate as evaluate
    from subbyte.report import inspect as inspect
    from subbyte.runtime import Model as Model
    from subbyte.runtime import load as load

_HOMES = {
    "InputSpec": "subbyte.data",
    "Model": "subbyte.runtime",
    "Preprocessing": "subbyte.data",
    "Samples": "subbyte.data",
    "bench": "subbyte.report",
    "evaluate": "subbyte.report",
    "inspect": "subbyte.report",
    "load": "subbyte.runtime",
}
_MODULES = ("compress", "errors")

__version__ = "0.1.0"
__all__ = ["__version__", "compress", "errors", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"subbyte.{name}")
    raise AttributeError(f"module 'subbyte' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
