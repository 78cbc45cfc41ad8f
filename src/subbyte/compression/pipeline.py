"""The main job: a network and samples in, one small ONNX file out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch

from subbyte.compression.calibration.culprit import blaming
from subbyte.compression.calibration.unseen import Branches, unseen
from subbyte.compression.checkpoint import PLAN_FILE, Checkpoints, work_folder
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import open_device, repeatable
from subbyte.compression.encoding.conv_then_linear import encode_network
from subbyte.compression.encoding.distill import Tuner, check_tunable
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.encoding.write_file import write_coded
from subbyte.compression.planning.make import make_plan
from subbyte.compression.planning.network_plan import NetworkPlan, commented_plan
from subbyte.compression.planning.plan_file import Plan, parse_plan, planned_layers, read_text
from subbyte.compression.proof.float_outputs import FloatOutputs
from subbyte.compression.proof.generalization import Generalization, generalization
from subbyte.compression.proof.opens import check_opens
from subbyte.compression.proof.prove import prove
from subbyte.compression.proof.record import Proof
from subbyte.compression.run import Run, Schedule
from subbyte.compression.validation import Split, split
from subbyte.data import Samples
from subbyte.data.fitting import InputChoice
from subbyte.errors import BudgetError, CalibrationError, ModelFileError, OutputError, WeightError
from subbyte.files import check_writable, pending, write_atomic
from subbyte.graph.load.network import prepare, read_file
from subbyte.graph.network import Network
from subbyte.progress import Progress, silent
from subbyte.runtime.timings import load_timings

FORMAT = 1


@dataclass(frozen=True)
class Compressed:
    """The file that was written, and its figures.

    ``untrained``: layers that tuning could not reach, and the operator in the way of each.
    ``unseen``: branches whose weights no sample tells anything of. ``generalization``: how much
    closer it is to float on the calibration samples than on others; None where none were held back.
    """

    path: Path
    plan: Plan
    losses: dict[str, float]
    proof: Proof
    untrained: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[Branches, ...] = ()
    generalization: Generalization | None = None


def compress_network(
    source: str | os.PathLike[str] | onnx.ModelProto,
    output: str | os.PathLike[str],
    samples: Samples,
    options: CompressOptions,
    progress: Progress,
    held: Samples | None = None,
    schedule: Schedule | None = None,
) -> Compressed:
    """Compress ``source`` with ``samples`` and write ``output`` (whole, or not at all).

    The file takes its name when both engines have run it (`prove`), on ``held``: samples that are
    none of ``samples``. None: some of ``samples`` are held back (`validation.split`).
    ``schedule``: of the trainings, None: the usual one.

    Raises:
        SubbyteError: anything wrong with the network, the samples, the options or the output,
            before the long part of the work starts where it can be known then.
    """
    target = check_writable(output)
    open_device(options.device)
    if options.tune and len(samples) < 2:
        raise CalibrationError(
            "`tune` holds some samples back", expected="at least 2 samples", got=len(samples)
        )
    network = read_source(source, progress, samples.choice)
    untrained = check_tunable(network) if options.tune or options.tune_linear else {}
    parts = split(samples, options.seed) if held is None else Split(samples, held, apart=True)
    checkpoints = _open_checkpoints(target, network, parts, options)
    try:
        with repeatable(), blaming(network, samples):
            run = Run(*(network, parts.fit, options, progress, checkpoints, schedule or Schedule()))
            written, plan, encoded = _carry_out(run, parts.held)
            gaps = generalization(run, encoded, parts.held) if parts.apart else None
        data = written.SerializeToString(deterministic=True)
        _check_size(len(data), options)
        with pending(target, data) as path:
            proof = prove(
                *(path, parts.held, FloatOutputs(network, source), parts.apart, progress),
                name=str(target),
                engines=("portable",) if options.inline else None,
            )
        checkpoints.done()
    except OutputError:
        # A disk that was full: the same command goes on when there is room.
        raise
    except Exception:
        # It would come again.
        checkpoints.done()
        raise
    finally:
        checkpoints.drop_if_empty()
    return Compressed(target, plan, encoded.losses, proof, untrained, unseen(network), gaps)


def _check_size(size: int, options: CompressOptions) -> None:
    if options.size is not None and size > options.size:
        raise BudgetError(
            "the file is larger than it was planned to be",
            expected=f"at most {options.size:.0f} bytes: try `size={2 * options.size - size:.0f}`",
            got=size,
        )


def plan_network(
    source: str | os.PathLike[str] | onnx.ModelProto,
    samples: Samples,
    options: CompressOptions,
    progress: Progress,
) -> NetworkPlan:
    """Plan ``source`` as `compress_network` would, and code nothing."""
    open_device(options.device)
    network = read_source(source, progress, samples.choice)
    with repeatable(), blaming(network, samples):
        fit = split(samples, options.seed).fit
        planned = make_plan(Run(network, fit, options, progress))
    return NetworkPlan(tuple(planned_layers(network)), planned)


def read_source(
    source: str | os.PathLike[str] | onnx.ModelProto,
    progress: Progress = silent,
    choice: InputChoice | None = None,
) -> Network:
    """The prepared network, checked: one that can be compressed. ``choice``: of its inputs."""

    if isinstance(source, onnx.ModelProto):
        network = prepare(source, "model", choice=choice, progress=progress)
    else:
        network = read_file(Path(source), str(source), choice=choice, progress=progress)
    _check_network(network)
    check_opens(network, source)
    return network


def _carry_out(run: Run, unseen: Samples) -> tuple[onnx.ModelProto, Plan, Encoded]:
    plan = _plan(run)
    encoded, module = encode_network(run, plan)
    if run.config.tune:
        encoded = Tuner(run, module, encoded, run.config.tune).run()
    del module
    return write_coded(run, encoded, unseen), plan, encoded


def _check_network(network: Network) -> None:
    if network.fixed_batch is not None and network.fixed_batch > 1:
        raise ModelFileError(
            "the network runs with one batch size only",
            where=network.name,
            expected="an export with a free batch dimension, or with batch 1",
            got=f"batch {network.fixed_batch}",
        )
    if not network.weighted:
        raise WeightError(
            "nothing to compress",
            where=network.name,
            expected="conv or linear layers, tables that are read by rows, recurrent weights",
            got="none",
        )
    for layer in network.layers:
        value = network.model.graph.initializers[layer.weight].const_value
        if value is not None and not np.any(value.numpy()):
            raise WeightError(
                "all weights are zero", where=f"{layer.name} ({layer.op})", got=layer.weight
            )


def _open_checkpoints(
    target: Path, network: Network, parts: Split, options: CompressOptions
) -> Checkpoints:
    wishes = asdict(options)
    for not_part_of_the_result in ("work", "inline", "activations", "samples", "timings"):
        del wishes[not_part_of_the_result]
    if options.plan is not None:
        wishes["plan"] = read_text(Path(options.plan))
    if options.size is not None:
        wishes["file"] = [options.inline, options.activations]
    if options.latency is not None:
        wishes["timings"] = load_timings(options.timings).document()
    digest = hashlib.sha256(
        json.dumps([FORMAT, torch.__version__, wishes], sort_keys=True).encode()
    )
    digest.update(parts.fit.fingerprint().encode())
    digest.update(fingerprint(network))
    folder = work_folder(target) if options.work is None else Path(options.work)
    return Checkpoints(folder, digest.hexdigest(), keep=options.work is not None)


def fingerprint(network: Network) -> bytes:
    """Tells one network from another: its graph and its constants."""
    digest = hashlib.sha256(str(network.model.graph).encode())
    for name, value in sorted(network.model.graph.initializers.items()):
        digest.update(name.encode())
        if value.const_value is not None:
            array = np.ascontiguousarray(value.const_value.numpy())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.digest()


def _plan(run: Run) -> Plan:
    """The plan of a run that was stopped, or a new one."""
    layers, checkpoints = planned_layers(run.network), run.checkpoints
    found = checkpoints.load("plan")
    if found is not None:
        return parse_plan(str(found[1]), layers, str(checkpoints.folder))
    planned = make_plan(run)
    text = commented_plan(planned, layers)
    checkpoints.save("plan", {}, text)
    write_atomic(checkpoints.folder / PLAN_FILE, text.encode())
    return planned.plan
