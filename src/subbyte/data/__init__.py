"""Samples: the user's arrays, fitted to a model's inputs and preprocessed on their way into it."""

from __future__ import annotations

from subbyte.data.given import SetInputs
from subbyte.data.image_folder import ImageFolder, open_folder
from subbyte.data.labels import Labels, read_labels
from subbyte.data.preprocessing import ImageOptions, Layout, Preprocessing, Preset
from subbyte.data.samples import MOST_SEED, Batch, Samples, check_seed
from subbyte.data.sources import BatchAxes, Source, as_samples
from subbyte.data.specs import InputSpec

__all__ = [
    "MOST_SEED",
    "Batch",
    "BatchAxes",
    "ImageFolder",
    "ImageOptions",
    "InputSpec",
    "Labels",
    "Layout",
    "Preprocessing",
    "Preset",
    "Samples",
    "SetInputs",
    "Source",
    "as_samples",
    "check_seed",
    "open_folder",
    "read_labels",
]
