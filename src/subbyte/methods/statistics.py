"""What a search knows of a layer's inputs."""

from __future__ import annotations

BLOCK = 24
"""Consecutive channels whose covariance is kept: every sub-vector length divides it."""
