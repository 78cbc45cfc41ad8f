"""Training: the soft/hard two-stage quantization, and compressed files as trainable modules."""

from __future__ import annotations

from subbyte.train.files import Tuned, tune
from subbyte.train.loop import fit, measure
from subbyte.train.soft_hard import SoftHard
from subbyte.train.student import Student, load

__all__ = ["SoftHard", "Student", "Tuned", "fit", "load", "measure", "tune"]
