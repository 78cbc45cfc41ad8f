"""How long work tells its caller where it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int, str], None]
"""``progress(stage, done, total, detail)``: of the ``total`` steps of ``stage`` so many are
``done``; ``detail`` says more about the step at hand, or is empty."""


def renamed(progress: Progress, stage: str) -> Progress:
    """``progress`` for work that is the one stage ``stage`` of something larger."""

    def under_that_name(_: str, done: int, total: int, detail: str) -> None:
        progress(stage, done, total, detail)

    return under_that_name


def silent(stage: str, done: int, total: int, detail: str) -> None:
    """Report nothing."""
