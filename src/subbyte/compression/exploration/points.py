"""One point of an exploration: a plan carried out, and its file judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from subbyte.compression.calibration.culprit import blaming
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import open_device
from subbyte.compression.exploration.points_file import Point
from subbyte.compression.pipeline import compress_network, read_source
from subbyte.compression.planning.plan_file import planned_layers, read_plan
from subbyte.compression.proof.float_outputs import FloatOutputs
from subbyte.compression.proof.prove import prove
from subbyte.compression.validation import Judge
from subbyte.data import Samples
from subbyte.graph.network import Network
from subbyte.methods import stored_bytes
from subbyte.progress import Progress


@dataclass(frozen=True)
class Task:
    """The things that all points share.

    They are the network's file, the folder of plans and files, the samples to code with and the
    held-back samples, and the options.
    """

    source: Path
    folder: Path
    fit: Samples
    held: Samples
    options: CompressOptions


def make_point(task: Task, name: str, progress: Progress) -> Point:
    """Compress with the plan of point ``name``, unless its file is there, and judge the file:
    it is proved on the samples held back, some of them, and scored on all.

    Raises:
        SubbyteError: as `compress_network`.
    """
    path = task.folder / f"{name}.onnx"
    options = task.options.with_plan(task.folder / f"{name}.toml")
    network = read_source(task.source, choice=task.held.choice)
    if path.is_file():
        float_outputs = FloatOutputs(network, task.source)
        proof = prove(path, task.held, float_outputs, True, progress, path.name)
    else:
        proof = compress_network(
            task.source, path, task.fit, options, progress, held=task.held
        ).proof
    with blaming(network, task.held):
        score = Judge(network, task.held, open_device(options.device)).score(path)
    return Point(
        name=name,
        file=path.name,
        plan=f"{name}.toml",
        bits=_bits(task.folder / f"{name}.toml", network),
        bytes=path.stat().st_size,
        kl=score.divergence,
        agreement=score.agreement,
        lost=score.lost,
        proof=proof.document(),
        options={
            "budget": float(name.removeprefix("bits-")),
            "methods": list(task.options.allowed),
            "tune": options.tune,
            "activations": options.activations,
            "samples": len(task.fit),
            "held_back": len(task.held),
            "seed": options.seed,
        },
    )


def _bits(plan: Path, network: Network) -> float:
    """Bits per weight of a plan, over all layers (for composite ones the most they take)."""
    layers = planned_layers(network)
    chosen = read_plan(plan, layers)
    taken = sum(stored_bytes(layer.shape, chosen[layer.weight]) for layer in layers)
    taken += sum(constant.nbytes for constant in network.uncoded)
    count = sum(layer.shape.count for layer in layers)
    count += sum(constant.count for constant in network.uncoded)
    return round(8 * taken / count, 4)
