"""Samples: the user's arrays, fitted to a model's inputs and preprocessed on their way into it."""

from __future__ import annotations

from subbyte.data.given import SetInputs
from subbyte.data.preprocessing import Layout, Preprocessing
from subbyte.data.samples import (
    MOST_SEED,
    Batch,
    BatchAxes,
    Samples,
    Source,
    as_samples,
    check_seed,
)
from subbyte.data.specs import InputSpec

__all__ = [
    "MOST_SEED",
    "Batch",
    "BatchAxes",
    "InputSpec",
    "Layout",
    "Preprocessing",
    "Samples",
    "SetInputs",
    "Source",
    "as_samples",
    "check_seed",
]
