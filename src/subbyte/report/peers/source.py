"""The network that a peer is made from, and the call that a peer gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
"""An array for every input, by name."""

Bind = Callable[[Feeds], Callable[[], list[NDArray[Any]]]]
"""A function from inputs to a call that runs the network on them: only that call is timed."""


@dataclass(frozen=True)
class Source:
    """The float network at ``path``; ``samples`` to calibrate on, all of the shapes that
    will be run; ``threads``; and an existing ``folder`` for files in between."""

    path: Path
    samples: Sequence[Feeds]
    threads: int
    folder: Path
