"""The things that every part of a compression has in hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from subbyte.compression.checkpoint import Checkpoints, NoCheckpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import open_device
from subbyte.data import Samples
from subbyte.graph.network import Network
from subbyte.progress import Progress, silent


@dataclass(frozen=True)
class Schedule:
    """How the trainings within a compression go.

    ``check_every``: steps between two looks at the samples that are held back. ``warm_up``: steps
    until the rates are whole. ``move_above``: the relative error of a layer above which its codes
    are moved. ``rates``: Adam's rates in place of a part's own, by the name of the parameter;
    ``bias`` is the name of all biases. ``linear_steps``: of the linear layers of Q-CNN's procedure,
    where the user names none.
    """

    check_every: int = 50
    warm_up: int = 20
    move_above: float = 0.25
    rates: Mapping[str, float] = field(default_factory=dict)
    linear_steps: int = 200


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
