"""The figures of a compressed file for which it has to be run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from subbyte.compression.calibration.culprit import blaming
from subbyte.compression.proof.float_outputs import FloatOutputs
from subbyte.compression.proof.prove import prove
from subbyte.data import Batch, Labels, Samples
from subbyte.data.fitting import InputChoice, Part
from subbyte.data.specs import InputSpec
from subbyte.errors import OptionError, PeerError
from subbyte.graph.load.model_file import read_input_specs
from subbyte.graph.load.network import read_network
from subbyte.graph.network import Network
from subbyte.methods.coded import CodedWeight
from subbyte.progress import Progress, renamed
from subbyte.report.benchmark import Timed, bench
from subbyte.report.coded import CodedLayer, coded_layers, unpacked_weights
from subbyte.report.evaluation import evaluate
from subbyte.report.page.saturation import carried_tensors, clipped
from subbyte.report.page.sensitivity import (
    Sensitivity,
    check_form,
    coded_network,
    file_distance,
    measure_layers,
)
from subbyte.report.peers.source import Source
from subbyte.report.stored import StoredModel, read_stored
from subbyte.report.timing import node_times
from subbyte.runtime import Model, load

STOCK_INT8 = "onnxruntime-int8"
Document = dict[str, Any]


class Subject:
    """A compressed file and its float network; ``left_out``: the figures that were not measured.

    ``inputs``: of both; ``folded``: the inputs of the float network that are constants in the file.
    ``network``, the float network, is there once `read` has been called.
    """

    network: Network

    def __init__(self, path: Path, float_path: Path, threads: int, progress: Progress) -> None:
        self.path, self.float_path = path, float_path
        self.threads, self.progress = threads, progress
        self.left_out: list[str] = []
        self.stored: StoredModel = read_stored(self.path)
        self.coded: dict[str, CodedLayer] = coded_layers(self.stored, self.path)
        self.unpacked: dict[str, CodedWeight] = unpacked_weights(self.stored, self.path)
        self.model: Model = load(self.path, threads=self.threads)
        self.inputs = self._inputs()
        self.folded = [spec.name for spec in self.inputs if spec.name not in self.model.input_names]

    def _inputs(self) -> tuple[InputSpec, ...]:
        theirs = read_input_specs(self.float_path)
        names = [spec.name for spec in theirs]
        own = [name for name in names if name in self.model.input_names]
        if self.model.input_names != own:
            raise OptionError(
                "the file takes other inputs than the float network",
                where=str(self.path),
                expected=", ".join(names),
                got=", ".join(self.model.input_names),
            )
        known = {spec.name: spec for spec in self.model.inputs}
        return tuple(known.get(spec.name, spec) for spec in theirs)

    def read(self, data: Samples | None, given: Mapping[str, Part]) -> None:
        """Read the float network as ``data`` want it; without data, with the inputs ``given``.

        Raises:
            OptionError: a file that is no compressed form of the float network, or an input that
                is a constant in the file and not given.
        """
        missing = [name for name in self.folded if name not in given]
        if missing and data is None:
            raise OptionError(
                f"input {missing[0]!r} is the float network's alone",
                where=str(self.path),
                expected=f"its value, as in `set_inputs={{'{missing[0]}': 1}}`",
            )
        folded = {name: given[name] for name in self.folded if name in given}
        choice = InputChoice(folded=folded) if data is None else data.choice
        self.network = read_network(self.float_path, choice)
        if self.coded or self.unpacked:
            check_form(self.network, self.coded)
        else:
            self.left_out.append("Harm of each layer: the file has no subbyte nodes.")


def on_samples(subject: Subject, data: Samples, rows: list[Document], samples: int) -> Document:
    """Harm of layers and saturation of activations; fills the rows."""
    few = data.first(samples)
    result: Document = {"sensitivity": None, "activations": None}
    if not (subject.coded or subject.unpacked):
        return result
    compressed = coded_network(subject.network, subject.coded, subject.unpacked)
    with blaming(subject.network, few):
        found = measure_layers(
            *(subject.network, compressed, subject.coded, few),
            subject.progress,
            subject.unpacked,
        )
    del compressed
    _fill(rows, found)
    tensors = carried_tensors(subject.stored, subject.path, subject.network, subject.coded)
    result["activations"] = clipped(subject.network, tensors, few)
    result["sensitivity"] = {
        "measure": found.measure,
        "samples": len(few),
        "alone": sum(found.harm.values()),
        "weights": found.total,
        "file": file_distance(subject.network, subject.model, few),
    }
    return result


def _fill(rows: list[Document], found: Sensitivity) -> None:
    total = sum(found.harm.values())
    for row in rows:
        names = [name for name in names_of(row) if name in found.harm]
        if names:
            row["harm"] = sum(found.harm[name] for name in names)
            row["harm_share"] = 100 * row["harm"] / total if total > 0 else 0.0
            errors = [found.error[name] for name in names if name in found.error]
            row["error"] = max(errors, default=None)


def proof(subject: Subject, few: Samples) -> Document:
    """`Proof.document` of the file against the float network, both in ONNX Runtime."""
    progress = renamed(subject.progress, "Outputs")
    float_outputs = FloatOutputs(subject.network, subject.float_path)
    return prove(subject.path, few, float_outputs, True, progress, str(subject.path)).document()


def stock_int8(subject: Subject, few: Samples, folder: Path, peers: Sequence[str]) -> Path | None:
    """The float network as onnxruntime quantizes it, in ``folder``; None if not wished or not to be
    had."""
    if STOCK_INT8 not in peers:
        return None
    feeds = list(few.batches(1))
    try:
        from subbyte.report.peers import stock

        return stock.quantized(Source(subject.float_path, feeds, subject.threads, folder))
    except PeerError as error:
        subject.left_out.append(f"Accuracy of {STOCK_INT8}: {error}")
    except ModuleNotFoundError as error:
        subject.left_out.append(f"Accuracy of {STOCK_INT8}: needs the package {error.name}")
    return None


def scores(
    subject: Subject,
    data: Samples,
    labels: Labels | None,
    label_offset: int,
    int8: Path | None,
) -> list[Document] | None:
    """`evaluate` of the file, the float network and stock int8, each against the float one."""
    outputs = subject.model.outputs
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[1] == 1:
        subject.left_out.append("Accuracy, agreement, KL: the network has no single row of scores.")
        return None
    files = [("this file", subject.path), ("float", subject.float_path)]
    files += [] if int8 is None else [("int8", int8)]
    rows = []
    for label, path in files:
        size = read_stored(path).file_bytes
        result = evaluate(
            *(path, data, labels),
            float_network=subject.float_path,
            label_offset=label_offset,
            threads=subject.threads,
            progress=renamed(subject.progress, f"Scores, {label}"),
        )
        figures = result.to_dict()
        del figures["model"]
        rows.append(figures | {"label": label, "bytes": size})
    return rows


def score_points(
    subject: Subject,
    points: list[Document],
    folder: Path,
    data: Samples,
    labels: Labels | None,
    label_offset: int,
) -> None:
    """Give ``points`` the kl, agreement and metric of their files on ``data``.

    The figures of the exploration itself are of other samples, so that nothing can be put beside
    them.
    """
    for number, point in enumerate(points):
        path = folder / point["file"]
        if not os.path.isfile(path):
            subject.left_out.append(f"{point['name']} on these samples: no file {path}.")
            continue
        result = evaluate(
            *(path, data, labels),
            float_network=subject.float_path,
            label_offset=label_offset,
            threads=subject.threads,
        )
        point |= {"kl": result.kl, "agreement": result.agreement, "metric": result.top1}
        subject.progress("Points", number + 1, len(points), "")


def latency(
    subject: Subject, data: Samples | None, runs: int, peers: Sequence[str]
) -> list[Document] | None:
    """Rows of `bench` for both files and the peers, with ``label`` and ``compressed``."""
    shapes = None if data is None else {k: list(v.shape) for k, v in _one(data).items()}
    choice = {} if data is None else {**data.fixed, **data.choice.folded}
    try:
        result = bench(
            [subject.float_path, subject.path],
            threads=subject.threads,
            runs=runs,
            shapes=shapes,
            peers=peers,
            set_inputs={name: part.array for name, part in choice.items()},
            progress=subject.progress,
        )
    except OptionError as error:
        subject.left_out.append(f"Latency: {error}")
        return None
    for missing in result.missing:
        subject.left_out.append(f"Latency of {missing.peer}: {missing.reason}")
    return [row.to_dict() | _label(row, subject) for row in result.models]


def _label(row: Timed, subject: Subject) -> Document:
    compressed = row.model == str(subject.path)
    if compressed:
        label = "this file, " + ("native kernels" if row.engine == "native" else "portable")
    else:
        label = "float" if row.engine == "portable" else row.engine
    return {"label": label, "compressed": compressed}


def times(
    subject: Subject, data: Samples, runs: int, rows: list[Document]
) -> list[Document] | None:
    """`node_times` on the native kernels; fills the rows.

    None without the library: nodes that ONNX Runtime fuses have no names any more.
    """
    if subject.model.engine != "native":
        subject.left_out.append("Time of each node: the native library is not installed.")
        return None
    nodes = node_times(subject.path, _one(data), runs, subject.threads, "native")
    by_name = {node["name"]: node["ms"] for node in nodes}
    for row in rows:
        found = [by_name[name] for name in names_of(row) if name in by_name]
        row["ms"] = sum(found) if found else None
    return nodes


def names_of(row: Mapping[str, Any]) -> list[str]:
    """The nodes of a layer: all nodes that share its weight."""
    return str(row["name"]).split(", ")


def _one(data: Samples) -> Batch:
    return next(iter(data.batches(1)))
