"""What a network is calibrated and compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Outputs = Sequence[Sequence[Array]]
"""Of every test sample the outputs of the network, in order."""


@dataclass(frozen=True)
class Task:
    """What outputs are for: ``score`` of a side's outputs, given those of the float network."""

    name: str
    score: Callable[[Outputs, Outputs], float]


@dataclass(frozen=True)
class Inputs:
    """Samples of the network's inputs, and what they are.

    ``calibration`` and ``test`` have an array an input, one sample along the first axis each.
    ``axes`` says where the network wants the batch if not first; ``fixed`` are inputs that are
    the same for every sample.
    """

    about: str
    calibration: Mapping[str, Array]
    test: Mapping[str, Array]
    task: Task | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, Array] = field(default_factory=dict)

    def feeds(self, arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
        """``arrays`` as the network takes them, one sample at a time."""
        count = len(next(iter(arrays.values())))
        return [
            {name: self._one(name, array[place]) for name, array in arrays.items()}
            | dict(self.fixed)
            for place in range(count)
        ]

    def _one(self, name: str, sample: Array) -> Array:
        return np.expand_dims(sample, self.axes.get(name, 0))


@dataclass(frozen=True)
class Case:
    """A network, its samples, and where it is from."""

    name: str
    origin: str
    source: Path
    inputs: Inputs


def alternate(samples: Mapping[str, Array] | Array, name: str = "") -> tuple[Any, Any]:
    """Samples at odd places to calibrate, those at even ones to test."""
    named = samples if isinstance(samples, Mapping) else {name: samples}
    return (
        {key: array[1::2] for key, array in named.items()},
        {key: array[::2] for key, array in named.items()},
    )


def labels_alike(output: int = 0) -> Task:
    """The percentage of samples whose greatest score is float's."""

    def score(outputs: Outputs, reference: Outputs) -> float:
        pairs = zip(outputs, reference, strict=True)
        return 100 * float(np.mean([a[output].argmax() == b[output].argmax() for a, b in pairs]))

    return Task("same label, %", score)


def top1(labels: Array) -> Task:
    """The percentage of samples whose greatest score is that of their label."""

    def score(outputs: Outputs, reference: Outputs) -> float:
        found = [sample[0].argmax() for sample in outputs]
        return 100 * float(np.mean(np.asarray(found) == labels[: len(found)]))

    return Task("top-1", score)


def decisions_alike(threshold: float, output: int = 0) -> Task:
    """The percentage of entries on the same side of ``threshold`` as float's."""

    def score(outputs: Outputs, reference: Outputs) -> float:
        pairs = zip(outputs, reference, strict=True)
        same = [(a[output] > threshold) == (b[output] > threshold) for a, b in pairs]
        return 100 * float(np.concatenate([part.ravel() for part in same]).mean())

    return Task(f"same side of {threshold:g}, %", score)


def overlap(threshold: float, output: int = 0) -> Task:
    """Intersection over union, in percent, of what is above ``threshold`` here and in float."""

    def score(outputs: Outputs, reference: Outputs) -> float:
        both = either = 0
        for ours, theirs in zip(outputs, reference, strict=True):
            a, b = ours[output] > threshold, theirs[output] > threshold
            both, either = both + int((a & b).sum()), either + int((a | b).sum())
        return 100 * both / either if either else 100.0

    return Task(f"overlap above {threshold:g} with float's, %", score)
