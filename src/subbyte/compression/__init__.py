"""Compression: calibration, planning, encoding layer by layer, tuning, writing."""

from __future__ import annotations

from subbyte.compression.api import compress
from subbyte.compression.config import CompressOptions
from subbyte.compression.pipeline import Compressed

__all__ = ["CompressOptions", "Compressed", "compress"]
