"""Compression: calibration, planning, encoding layer by layer, tuning, writing.

The package itself can be called: ``subbyte.compress(...)`` is `compress`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from subbyte.compress.api import compress
from subbyte.compress.options import CompressOptions
from subbyte.compress.pipeline import Compressed

__all__ = ["CompressOptions", "Compressed", "compress"]


class _CallableModule(ModuleType):
    """`subbyte.compress` names both this package and its main function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Compressed:
        return compress(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
