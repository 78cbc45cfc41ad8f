"""Accuracy of a classifier, and how closely it follows the float network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.data import (
    Batch,
    BatchAxes,
    Labels,
    Preprocessing,
    Preset,
    Samples,
    SetInputs,
    Source,
    as_samples,
    read_labels,
)
from subbyte.data.labels import FOLDERS
from subbyte.data.specs import InputSpec
from subbyte.errors import CalibrationError, ModelFileError, OptionError, RunError
from subbyte.option_types import checked
from subbyte.progress import Progress, silent
from subbyte.runtime import Engine, Model, load, native_isa

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier with the scores s; r: the scores of the float network.

    - ``model``: the file; ``engine``, ``native_isa``: the engine that ran it, and the native
      kernels' instruction set (None: portable);
    - ``n``, ``classes``: how many samples, and classes;
    - ``top1``, ``top5``: percent of samples whose label is the highest, among the five highest
      scores; None without labels, as ``balanced_accuracy``: mean over the classes present of their
      top-1 percent;
    - ``float_top1``: ``top1`` of r; None without labels or float network;
    - ``agreement``: percent of samples with argmax s = argmax r; None without float network, as
      ``kl``: mean over samples of KL(softmax(r) || softmax(s)), in nats.
    """

    model: str
    engine: Engine
    native_isa: str | None
    n: int
    classes: int
    top1: float | None = None
    top5: float | None = None
    balanced_accuracy: float | None = None
    float_top1: float | None = None
    agreement: float | None = None
    kl: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The figures there are, as ``subbyte eval --json`` writes them."""
        return {name: value for name, value in vars(self).items() if value is not None}


@checked
def evaluate(
    model: str | os.PathLike[str],
    inputs: Source,
    labels: Labels | None = None,
    *,
    float_network: str | os.PathLike[str] | None = None,
    preprocessing: Preprocessing | Preset | None = None,
    label_offset: int = 0,
    samples: int | None = None,
    batch_size: int = 64,
    engine: Engine | None = None,
    threads: int | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measure a model whose one output is class scores [N, classes].

    Args:
        model: ONNX file, compressed or not.
        inputs: samples, as `subbyte.data.as_samples` takes them (``FILE.npz:array``).
        labels: class indices [N]: an array, or ``FILE.npz:array``; for a folder of images also
            "folders" or a text file (`subbyte.data.read_labels`).
        float_network: its ONNX file; adds agreement and kl.
        preprocessing: from stored samples to the model's inputs; None: as the file records.
        label_offset: added to each label (1 for a model with a background class in front).
        samples: use so many, drawn at random, the same ones every time; None: all.
        batch_size: samples per run; a model with a fixed batch gets that.
        engine, threads: as `subbyte.load`.
        set_inputs, batch_axes: as `subbyte.data.as_samples`. An input that only the
            float network has, because it was folded into the model, has to be set.
        progress: called as progress(stage, done, total, detail), with the stages "Images" (of a
            folder) and "Samples".

    Raises:
        SubbyteError: unreadable files, data that do not fit, an output that is not [N, classes],
            neither labels nor a float network.
    """
    if labels is None and float_network is None:
        raise OptionError("nothing to measure against", expected="labels, a float network, or both")
    if batch_size < 1:
        raise OptionError("batch size out of range", expected="at least 1", got=batch_size)
    network = load(model, engine=engine, threads=threads)
    whole = None if float_network is None else load(float_network, engine=engine, threads=threads)
    specs = network.inputs if whole is None else shared_inputs(network, whole)
    data = as_samples(
        inputs,
        specs,
        preprocessing,
        recorded=network.preprocessing,
        option="evaluation data",
        set_inputs=set_inputs,
        batch_axes=batch_axes,
        count=samples,
        seed=0,
        progress=progress,
    )
    target = None if labels is None else read_labels(labels, data) + label_offset
    tally = _Tally()
    for start in range(0, len(data), batch_size):
        some = data.select(np.arange(start, min(start + batch_size, len(data))))
        scores = _scores(network, some)
        part = None if target is None else target[tally.n : tally.n + len(scores)]
        if isinstance(labels, str) and labels == FOLDERS:
            _check_folders(data, scores.shape[1] - label_offset)
        tally.add(scores, part, None if whole is None else _scores(whole, some))
        progress("Samples", tally.n, len(data), "")
    isa = native_isa() if network.engine == "native" else None
    return Evaluation(os.fspath(model), network.engine, isa, **tally.result())


class _Tally:
    """Running sums over batches."""

    def __init__(self) -> None:
        self.n = 0
        self.classes = 0
        self._ranks: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._float_hits = 0
        self._agree = 0
        self._kl = 0.0
        self._compared = False

    def add(self, scores: Scores, labels: NDArray[np.int64] | None, wanted: Scores | None) -> None:
        self.n += len(scores)
        self.classes = scores.shape[1]
        if labels is not None:
            _check_label_range(labels, self.classes)
            self._ranks.append(_rank(scores, labels))
            self._labels.append(labels)
        if wanted is not None:
            if wanted.shape != scores.shape:
                raise OptionError(
                    "float network has other classes than the model",
                    expected=f"{scores.shape[1]} classes",
                    got=wanted.shape[1],
                )
            self._compared = True
            if labels is not None:
                self._float_hits += int((_rank(wanted, labels) == 0).sum())
            self._agree += int((scores.argmax(1) == wanted.argmax(1)).sum())
            self._kl += float(_divergence(wanted, scores).sum())

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = {"n": self.n, "classes": self.classes}
        if self._ranks:
            ranks, labels = np.concatenate(self._ranks), np.concatenate(self._labels)
            hits = ranks == 0
            recalls = [hits[labels == label].mean() for label in np.unique(labels)]
            result["top1"] = 100 * float(hits.mean())
            result["top5"] = 100 * float((ranks < 5).mean())
            result["balanced_accuracy"] = 100 * float(np.mean(recalls))
            if self._compared:
                result["float_top1"] = 100 * self._float_hits / self.n
        if self._compared:
            result["agreement"] = 100 * self._agree / self.n
            result["kl"] = self._kl / self.n
        return result


def _rank(scores: Scores, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of the label among the scores, 0 the highest; of equal ones the first leads."""
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    return np.asarray(ahead.sum(axis=1))


def _divergence(wanted: Scores, scores: Scores) -> NDArray[np.float64]:
    """KL(softmax(wanted) || softmax(scores)) of each sample, in nats."""
    p, q = _log_softmax(wanted), _log_softmax(scores)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def _log_softmax(scores: Scores) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _scores(model: Model, samples: Samples) -> Scores:
    """Class scores of samples; a model with a fixed batch size gets pieces of that size."""
    fixed = samples.baked(model.inputs)
    pieces = []
    for batch in padded(samples, fixed).batches(fixed or len(samples)):
        output = _run(model, batch, samples)
        if samples.single and not isinstance(output, tuple) and output.ndim == 1:
            output = output[np.newaxis]
        if isinstance(output, tuple) or output.ndim != 2 or output.shape[1] == 1:
            raise _not_scores(model)
        pieces.append(output)
    scores = np.concatenate(pieces)[: len(samples)].astype(np.float64)
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise ModelFileError(
            "outputs are NaN or Inf",
            where=str(model.path),
            got=samples.title(samples.places[int(np.argmax(bad))]),
        )
    return scores


def _run(model: Model, batch: Batch, samples: Samples) -> Any:
    """The outputs of a batch; an error names the first of ``samples`` that fails by itself."""
    names = model.input_names
    try:
        return model.run({name: batch[name] for name in names})
    except ModelFileError as error:
        for number, place in enumerate(samples.places):
            one = padded(samples.select([number]), samples.baked(model.inputs))
            try:
                model.run(one.feeds(names))
            except ModelFileError as alone:
                raise RunError(
                    alone.what,
                    where=f"{alone.where}, {samples.title(place)}",
                    expected="samples that the network takes",
                    got=alone.got,
                ) from error
        raise


def padded(samples: Samples, size: int | None) -> Samples:
    """The samples, the last one repeated until they fill batches of ``size``."""
    count = len(samples)
    whole = count if size is None else -(-count // size) * size
    return samples.select(np.minimum(np.arange(whole), count - 1))


def _not_scores(model: Model) -> OptionError:
    outputs = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in model.outputs)
    return OptionError(
        "top1, top5, balanced_accuracy, agreement and kl need class scores",
        where=str(model.path),
        expected="one output [N, classes] (subbyte report takes any outputs)",
        got=outputs,
    )


def _check_folders(samples: Samples, classes: int) -> None:
    folder = samples.folder
    if folder is not None and len(folder.classes) != classes:
        raise CalibrationError(
            "the folder has other classes than the model",
            where=os.fspath(folder.root),
            expected=f"{classes} class folders; or `labels=FILE.txt` with lines of the name of a "
            "class folder and the model's index of it",
            got=f"{len(folder.classes)}: {', '.join(folder.classes[:5])} ...",
        )


def _check_label_range(labels: NDArray[np.int64], classes: int) -> None:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise CalibrationError(
            "label out of range",
            expected=f"0 to {classes - 1} after the label offset",
            got=labels[outside][0],
        )


def shared_inputs(model: Model, float_network: Model) -> tuple[InputSpec, ...]:
    """The inputs of both: the model's, and the float network's inputs that were folded into it.

    Raises:
        OptionError: the model takes an input that the float network has not.
    """
    extra = [spec for spec in float_network.inputs if spec.name not in model.input_names]
    if set(model.input_names) - set(float_network.input_names):
        raise OptionError(
            "float network takes other inputs than the model",
            where=str(float_network.path),
            expected=", ".join(model.input_names),
            got=", ".join(float_network.input_names),
        )
    return (*model.inputs, *extra)
