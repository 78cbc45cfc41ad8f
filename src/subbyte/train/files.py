"""Tuning a compressed file on stored samples: ``subbyte tune`` in Python."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subbyte.compression.calibration.culprit import blaming
from subbyte.compression.device import open_device
from subbyte.compression.divergence import as_tuple
from subbyte.compression.proof.float_outputs import FloatOutputs
from subbyte.compression.proof.prove import prove
from subbyte.compression.proof.record import Proof
from subbyte.data import (
    BatchAxes,
    Preprocessing,
    Preset,
    Samples,
    SetInputs,
    Source,
    as_samples,
    check_seed,
)
from subbyte.errors import CalibrationError, OptionError, OutputError, RunError
from subbyte.files import pending
from subbyte.graph.load.model_file import read_input_specs
from subbyte.graph.load.network import read_network
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.option_types import checked
from subbyte.outputs import check_apart
from subbyte.progress import Progress, silent
from subbyte.runtime.metadata import recorded_preprocessing
from subbyte.train.loop import fit, measure
from subbyte.train.student import Student, load

HELD_BACK = 0.1
CHECKPOINT = "tune.checkpoint"
MOST_HELD_BACK = 1000


@dataclass(frozen=True)
class Tuned:
    """Mean losses on the ``held_back`` samples that were not trained on. ``proof``: how far the
    file is from the float network on them; without one, from the module that was trained."""

    before: float
    after: float
    held_back: int
    proof: Proof

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``subbyte tune --json`` writes them."""
        return {
            "held_back": self.held_back,
            "loss_before": self.before,
            "loss_after": self.after,
            "proof": self.proof.document(),
        }


class SampleBatches:
    """Batches of samples as `fit` wants them, shuffled by torch's generator every epoch.

    With ``labels`` int64 [N] they are (inputs, labels), without them inputs.
    """

    def __init__(
        self, samples: Samples, size: int, labels: NDArray[np.int64] | None, shuffle: bool = True
    ) -> None:
        self.samples, self._size, self._labels = samples, size, labels
        self._shuffle = shuffle

    def __iter__(self) -> Iterator[Any]:
        count = len(self.samples)
        order = torch.randperm(count) if self._shuffle else torch.arange(count)
        for index in order.split(self._size):
            (batch,) = self.samples.select(index.numpy()).batches(len(index))
            inputs = tuple(torch.from_numpy(array) for array in batch.values())
            if self._labels is None:
                yield inputs
            else:
                yield inputs, torch.from_numpy(self._labels[index.numpy()])


@checked
def tune(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    data: Source,
    *,
    steps: int,
    float_network: str | os.PathLike[str] | None = None,
    labels: NDArray[np.int64] | None = None,
    preprocessing: Preprocessing | Preset | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    batch_size: int = 64,
    rate_factor: float = 1.0,
    precision: torch.dtype | None = None,
    work: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Tuned:
    """Train the coded weights and biases of ``source`` and write ``output``.

    A tenth of the samples (`MOST_HELD_BACK` at most) is held back to measure with. The file takes
    its name when both engines have run it on them (`prove`).

    Args:
        data: as `subbyte.compress` takes it; so too set_inputs, batch_axes.
        float_network: trained to follow it; or ``labels``: class indices [N], by cross-entropy.
        rate_factor: times the usual learning rates.
        work: folder for the checkpoint, from which the same call goes on.
        others: as of `fit`.

    Raises:
        SubbyteError: anything wrong with files, data or options; nothing is written then.
    """
    target = Path(output)
    checkpoint = None if work is None else _checkpoint_in(Path(work))
    check_apart([target, checkpoint], [source, float_network])
    if batch_size < 1:
        raise OptionError("batch size out of range", expected="1 or more", got=batch_size)
    check_seed(seed)
    samples = tuning_samples(
        data, source, float_network, preprocessing, set_inputs=set_inputs, batch_axes=batch_axes
    )
    if samples.single and batch_size > 1:
        raise OptionError(
            "the network takes one sample at a time, as an input has no batch axis",
            where="batch size",
            expected=1,
            got=batch_size,
        )
    if len(samples) < 2:
        raise CalibrationError(
            "tuning holds some samples back", expected="at least 2 samples", got=len(samples)
        )
    student = load(source).to(open_device(device))
    taught = None if float_network is None else read_network(float_network, samples.choice)
    if labels is not None:
        _check_labels(student, samples, labels)
    order = np.random.default_rng(seed).permutation(len(samples))
    held = min(MOST_HELD_BACK, max(1, round(HELD_BACK * len(samples))))
    parts = [
        SampleBatches(
            samples.select(index), batch_size, None if labels is None else labels[index], shuffle
        )
        for index, shuffle in ((np.sort(order[:held]), False), (order[held:], True))
    ]
    by: dict[str, Any] = {"float_network": None if taught is None else GraphModule(taught)}
    if labels is not None:
        by["loss"] = nn.functional.cross_entropy
    with blaming(taught or student.network, samples):
        before = measure(student, parts[0], **by)
        if not math.isfinite(before):
            raise RunError("NaN or Inf in the outputs, before any training", where=str(source))
        fit(
            student,
            parts[1],
            steps,
            rate=rate_factor,
            precision=precision,
            checkpoint=checkpoint,
            seed=seed,
            progress=progress,
            **by,
        )
        after = measure(student, parts[0], **by)
    reference = _reference(student, taught, float_network, samples)
    with pending(target, student.export().SerializeToString(deterministic=True)) as path:
        proof = prove(path, parts[0].samples, reference, True, progress, str(target))
    return Tuned(before, after, held, proof)


def _checkpoint_in(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cannot make the work folder", where=str(folder), got=error.strerror
        ) from error
    return folder / CHECKPOINT


def tuning_samples(
    data: Source,
    source: str | os.PathLike[str],
    float_network: str | os.PathLike[str] | None,
    preprocessing: Preprocessing | Preset | None = None,
    *,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    progress: Progress = silent,
) -> Samples:
    """The samples for ``source``.

    An input that the float network still has and that was folded into ``source`` has to be set.

    Raises:
        SubbyteError: as `as_samples`.
    """
    if isinstance(data, Samples):
        return data
    specs = read_input_specs(source)
    names = [spec.name for spec in specs]
    theirs = () if float_network is None else read_input_specs(float_network)
    extra = [spec for spec in theirs if spec.name not in names]
    samples = as_samples(
        *(data, (*specs, *extra), preprocessing),
        recorded=recorded_preprocessing(source),
        option="`data`",
        set_inputs=set_inputs,
        batch_axes=batch_axes,
        progress=progress,
    )
    return samples.folding([spec.name for spec in extra])


def _reference(
    student: Student,
    taught: Network | None,
    float_network: str | os.PathLike[str] | None,
    samples: Samples,
) -> FloatOutputs:
    """The float network; without one the trained module, as which the file has to compute."""
    if taught is not None:
        return FloatOutputs(taught, float_network)
    network = replace(student.network, fixed_batch=samples.baked(samples.inputs))
    compared_with = "the trained module"
    return FloatOutputs(network, None, lambda: student.cpu().eval(), compared_with)


@torch.no_grad()
def _check_labels(student: Student, samples: Samples, labels: NDArray[np.int64]) -> None:
    if len(labels) != len(samples):
        raise CalibrationError(
            "labels and samples differ in number", expected=len(samples), got=len(labels)
        )
    device = next(student.parameters()).device
    (batch,) = samples.select([0]).batches(1)
    scores = as_tuple(student(*(torch.from_numpy(x).to(device) for x in batch.values())))
    if len(scores) != 1 or scores[0].ndim != 2:
        raise OptionError(
            "labels are for classifiers",
            expected="one output [N, classes]",
            got=[list(score.shape) for score in scores],
        )
    classes = scores[0].shape[1]
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise CalibrationError(
            "label out of range", expected=f"0 to {classes - 1}", got=int(labels[outside][0])
        )
