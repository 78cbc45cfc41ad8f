"""Everything that there is to say about one compressed file, as one document."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subbyte.data import BatchAxes, Labels, Preprocessing, Preset, SetInputs, Source, as_samples
from subbyte.data.given import given_parts
from subbyte.errors import OptionError
from subbyte.methods import METHODS
from subbyte.option_types import checked
from subbyte.progress import Progress, silent
from subbyte.report.coded import CodedLayer, settings
from subbyte.report.inspection import inspect
from subbyte.report.measured import (
    Document,
    Subject,
    latency,
    names_of,
    on_samples,
    proof,
    score_points,
    scores,
    stock_int8,
    times,
)
from subbyte.report.page.advice import advice
from subbyte.report.page.tradeoff import read_points
from subbyte.report.peers import check_names
from subbyte.report.system import system

MOST_BOOKS = 16
Rows = Sequence[Mapping[str, Any]]
_OF_SAMPLES = ("scores", "sensitivity", "activations", "nodes", "proof")
"""Codebooks of a layer that a report shows."""


@dataclass(frozen=True)
class Report:
    """Everything there is to say about one compressed file. Rows are JSON objects.

    - ``model``, ``float_network``: the files;
    - ``summary``: sizes, as `inspect` has them, with ``float_bytes`` and ``compression``;
    - ``layers``: rows of `inspect` with options, shares, error, harm and ms;
    - ``scores``: `Evaluation` of the file, the float network and stock int8;
    - ``sensitivity``: D of the weights and of the file (`subbyte.report.page.sensitivity`);
    - ``activations``: `subbyte.report.page.saturation.clipped`;
    - ``nodes``: `node_times`;
    - ``proof``: how far each output is from float on each engine (`Proof.document`);
    - ``points``: `read_points`, measured on the samples;
    - ``latency``: rows of `bench`;
    - ``left_out``: each figure that could not be measured, and why;
    - ``advice``: sentences; ``system``: CPU and versions.

    Without samples every figure that needs them is None.
    """

    model: str
    float_network: str
    summary: Mapping[str, Any]
    layers: Rows
    scores: Rows | None
    sensitivity: Mapping[str, Any] | None
    activations: Rows | None
    nodes: Rows | None
    proof: Mapping[str, Any] | None
    points: Rows
    latency: Rows | None
    left_out: Sequence[str]
    advice: Sequence[str]
    system: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON (`render`)."""
        return dict(vars(self))


@checked
def make_report(
    model: str | os.PathLike[str],
    float_network: str | os.PathLike[str],
    inputs: Source | None = None,
    labels: Labels | None = None,
    *,
    preprocessing: Preprocessing | Preset | None = None,
    label_offset: int = 0,
    samples: int | None = None,
    layer_samples: int = 128,
    points: str | os.PathLike[str] | None = None,
    runs: int = 30,
    threads: int = 1,
    peers: Sequence[str] = (),
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    progress: Progress = silent,
) -> Report:
    """Measure a compressed file against its float network.

    Args:
        model, float_network: ONNX files, compressed and float.
        inputs, labels, preprocessing, label_offset, samples: as `evaluate`.
        layer_samples: layers and activations are measured on the first so many of them.
        points: folder of ``subbyte explore``.
        runs: timed rounds; 0 times nothing.
        threads, peers: as `bench`; "onnxruntime-int8" is also measured as inputs allow, calibrated
            on the first ``layer_samples`` of them.
        set_inputs, batch_axes: as `evaluate`.
        progress: called as progress(stage, done, total, detail).

    Raises:
        SubbyteError: unreadable files, data that do not fit, a file that is no compressed form of
            the float network, options out of range.
    """
    least_values = (("layer_samples", layer_samples, 1), ("runs", runs, 0), ("threads", threads, 1))
    for name, value, least in least_values:
        if value < least:
            raise OptionError(f"{name} out of range", expected=f"at least {least}", got=value)
    if labels is not None and inputs is None:
        raise OptionError("labels without samples", expected="inputs")
    check_names(peers)
    path, float_path = Path(model), Path(float_network)
    found = read_points(points) if points is not None else []
    subject = Subject(path, float_path, threads, progress)
    whole, data = None, None
    if inputs is not None:
        whole = as_samples(
            *(inputs, subject.inputs, preprocessing),
            recorded=subject.model.preprocessing,
            option="data",
            set_inputs=set_inputs,
            batch_axes=batch_axes,
            count=samples,
            seed=0,
            progress=progress,
        )
        data = whole.folding(subject.folded)
    subject.read(data, given_parts(set_inputs, subject.inputs))
    document: Document = {"model": os.fspath(model), "float_network": os.fspath(float_network)}
    document |= _account(subject) | dict.fromkeys(_OF_SAMPLES)
    document |= {"points": found, "latency": None, "left_out": subject.left_out}
    if data is not None and whole is not None:
        with tempfile.TemporaryDirectory() as folder:
            few = whole.first(layer_samples)
            int8 = stock_int8(subject, few, Path(folder), peers)
            document["scores"] = scores(subject, whole, labels, label_offset, int8)
        if points is not None and document["scores"] is not None:
            score_points(subject, found, Path(points), whole, labels, label_offset)
        document |= on_samples(subject, data, document["layers"], layer_samples)
        document["proof"] = proof(subject, data.first(layer_samples))
    else:
        subject.left_out.append(
            "Accuracy, harm, activations, time of each layer: no data were given."
        )
    if runs:
        document["latency"] = latency(subject, data, runs, peers)
    if runs and data is not None:
        document["nodes"] = times(subject, data, runs, document["layers"])
    document["advice"] = advice(document)
    document["system"] = system()
    return Report(**document)


def _account(subject: Subject) -> Document:
    sizes, float_sizes = inspect(subject.path), inspect(subject.float_path)
    keys = ("file_bytes", "weight_count", "bits_per_weight", "parts")
    summary = {key: getattr(sizes, key) for key in keys}
    summary["float_bytes"] = float_sizes.file_bytes
    summary["compression"] = float_sizes.file_bytes / sizes.file_bytes
    rows = []
    for row in sizes.layers:
        coded = subject.coded.get(names_of(row)[0])
        count = math.prod(row["shape"])
        rows.append(
            dict(row)
            | {
                "options": {} if coded is None else settings(coded.weight),
                "weights_share": 100 * count / sizes.weight_count,
                "file_share": 100 * row["bytes"] / sizes.file_bytes,
                "levels": None if coded is None else _levels(coded),
                "codebooks": None if coded is None else _codebooks(coded),
            }
            | dict.fromkeys(("error", "harm", "harm_share", "ms"))
        )
    return {"summary": summary, "layers": rows}


def _levels(coded: CodedLayer) -> dict[str, list[int]]:
    """The integer weights that occur, and how often."""
    integers = METHODS[coded.weight.method].decode(coded.weight)
    values, counts = np.unique(integers, return_counts=True)
    return {"values": values.tolist(), "counts": counts.tolist()}


def _codebooks(coded: CodedLayer) -> dict[str, Any] | None:
    """How many there are, and the words of the first ones."""
    if "codebook" not in coded.weight.inputs:
        return None
    books = coded.weight.inputs["codebook"]
    return {"count": len(books), "words": books[:MOST_BOOKS].tolist()}
