"""Layers that no other method is for: scalar grids, 8 bits where they must stay precise."""

from __future__ import annotations

from subbyte.methods.base import LayerTraits
from subbyte.methods.options import MethodOptions
from subbyte.methods.scalar.form import BITS, EIGHT_BITS
from subbyte.methods.scalar.search import default, grids

__all__ = ["BITS", "EIGHT_BITS", "fallback", "grids"]


def fallback(layer: LayerTraits) -> MethodOptions:
    """8 bits where the layer is kept at them, else a grid of 4."""
    return default(layer, {})
