"""The things that every part of a compression has in hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from subbyte.compression.checkpoint import Checkpoints, NoCheckpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import open_device
from subbyte.compression.training import Schedule
from subbyte.data import Samples
from subbyte.graph.network import Network
from subbyte.progress import Progress, silent


@dataclass(frozen=True)
class Run:
    """One compression, or a part of one.

    ``network``: prepared, float. ``samples``: the calibration samples to plan and code with; a
    part of the work that uses fewer is a run of its own (`dataclasses.replace`). ``config``: the
    user's wishes. ``progress``: told of every step. ``checkpoints``: finished pieces of work, to
    go on from. ``schedule``: of the trainings.
    """

    network: Network
    samples: Samples
    config: CompressOptions = field(default_factory=CompressOptions)
    progress: Progress = silent
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    schedule: Schedule = field(default_factory=Schedule)

    @cached_property
    def device(self) -> torch.device:
        """Where to compute: the device of ``config``.

        Raises:
            OptionError: there is none such here.
        """
        return open_device(self.config.device)
