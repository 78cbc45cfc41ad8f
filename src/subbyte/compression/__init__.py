"""Compression: calibration, planning, encoding layer by layer, tuning, writing."""

from __future__ import annotations

from subbyte.compression.api import compress, plan
from subbyte.compression.config import CompressOptions
from subbyte.compression.pipeline import Compressed
from subbyte.compression.planning.network_plan import NetworkPlan

__all__ = ["CompressOptions", "Compressed", "NetworkPlan", "compress", "plan"]
