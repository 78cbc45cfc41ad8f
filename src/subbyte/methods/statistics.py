"""The knowledge of a search about a layer's inputs."""

from __future__ import annotations

BLOCK = 24
"""Consecutive channels whose covariance is kept: every sub-vector length divides it."""
