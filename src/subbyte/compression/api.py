"""``subbyte.compress``, ``plan`` and ``explore``: the Python form of the commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Unpack

import onnx
from torch import nn

from subbyte.compression.config import (
    DEFAULT_BITS,
    Activations,
    CompressKeywords,
    CompressOptions,
    Methods,
)
from subbyte.compression.exploration.executors import Executor
from subbyte.compression.exploration.explore import Exploration, explore_network
from subbyte.compression.exploration.points_file import Point
from subbyte.compression.pipeline import Compressed, compress_network, plan_network
from subbyte.compression.planning.network_plan import NetworkPlan
from subbyte.data import (
    BatchAxes,
    InputSpec,
    Preprocessing,
    Preset,
    Samples,
    SetInputs,
    Source,
    as_samples,
)
from subbyte.errors import OptionError
from subbyte.graph.load.model_file import data_files, input_specs, read_input_specs
from subbyte.graph.load.torch_export import export_module
from subbyte.option_types import checked
from subbyte.outputs import File, check_apart, files_of
from subbyte.progress import Progress, silent

_NETWORK = "an ONNX file, an onnx.ModelProto or a torch.nn.Module (not its class)"
Network = Annotated[str | os.PathLike[str] | onnx.ModelProto | nn.Module, _NETWORK]


@checked
def compress(
    source: Network,
    output: File,
    calib: Source,
    options: CompressOptions | None = None,
    *,
    example_inputs: Any = None,
    preprocessing: Preprocessing | Preset | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
    progress: Progress = silent,
    **options_by_name: Unpack[CompressKeywords],
) -> Compressed:
    """Compress a network and write it to ``output``.

    Args:
        source: an ONNX file, an onnx.ModelProto, or a torch.nn.Module (exported with
            ``example_inputs``, a tensor or a tuple of tensors, batch first).
        output: the ONNX file to write.
        calib: a few hundred unlabelled samples: an array [N, ...], a mapping from input names to
            arrays, ``FILE.npz[:array]``, a folder of images, a DataLoader, or any other source of
            `subbyte.data.as_samples`.
        options: `CompressOptions`.
        options_by_name: its fields as keywords (``bits=2.0``), in place of ``options``.
        preprocessing: applied to ``calib``; or the name of a preset. The file records it
            (`Model.preprocessing`).
        set_inputs, batch_axes, fold_inputs: inputs that are no samples, and where the batch of the
            others is, as `subbyte.data.as_samples`. `Samples` have all these already.
        progress: called as progress(stage, done, total, detail).

    Raises:
        SubbyteError: anything wrong with the input; nothing is written then.
    """
    options = _options(options, options_by_name)
    _check_output(output, source, [calib, *_texts(set_inputs)], options)
    network = _network(source, example_inputs)
    samples = _samples(
        *(network, calib, options, preprocessing, set_inputs, batch_axes, fold_inputs, progress)
    )
    return compress_network(network, output, samples, options, progress)


@checked
def plan(
    source: Network,
    calib: Source,
    options: CompressOptions | None = None,
    *,
    example_inputs: Any = None,
    preprocessing: Preprocessing | Preset | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
    progress: Progress = silent,
    **options_by_name: Unpack[CompressKeywords],
) -> NetworkPlan:
    """Choose how each layer of a network is coded, within a budget; nothing is coded yet.

    It takes the arguments of `compress`. `NetworkPlan.save` writes the plan to a file, which
    ``compress(..., plan=FILE)`` obeys; `NetworkPlan.to_dict` has its figures.

    Raises:
        SubbyteError: anything wrong with the input.
    """
    options = _options(options, options_by_name)
    if options.budget is None and options.plan is None:
        options = replace(options, bits=DEFAULT_BITS)
    network = _network(source, example_inputs)
    samples = _samples(
        *(network, calib, options, preprocessing, set_inputs, batch_axes, fold_inputs, progress)
    )
    return plan_network(network, samples, options, progress)


@checked
def explore(
    source: File,
    folder: File,
    calib: Source,
    *,
    bits: Sequence[float] | None = None,
    jobs: int | None = None,
    latency: bool = True,
    executor: Executor = "processes",
    ray_address: str | None = None,
    method: Methods | None = None,
    activations: Activations = "int8",
    tune: int = 0,
    seed: int = 0,
    device: str = "cpu",
    samples: int | None = None,
    preprocessing: Preprocessing | Preset | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
    progress: Progress = silent,
) -> list[Point]:
    """Compress a network at many budgets of bits: the whole trade-off, every point kept as a file.

    A quarter of the samples (512 at most) is held back, and every file is judged on it. The same
    call goes on where a stopped one has ended.

    Args:
        source: an ONNX file.
        folder: where plans and files go, and ``points.jsonl``, a line for each point.
        calib, preprocessing, set_inputs, batch_axes, fold_inputs, progress: as `compress`.
        bits: bits per weight of the points; None: 12 budgets, from the least there can be to 4.5.
        jobs: points at a time; None: one, or as many as a Ray cluster takes.
        latency: measure every file on the native kernels, one thread.
        executor: "processes" of this machine, or "ray": a Ray cluster.
        ray_address: of the cluster's head; None: RAY_ADDRESS, else a cluster of this machine.
        method, activations, tune, seed, device, samples: as the fields of `CompressOptions`, for
            all points.

    Returns:
        The points, the one with the fewest bits first.

    Raises:
        SubbyteError: anything wrong with the input; a folder that belongs to another exploration.
    """
    options = CompressOptions(
        method=method,
        activations=activations,
        tune=tune,
        seed=seed,
        device=device,
        samples=samples,
    )
    wishes = Exploration(bits, jobs, latency, executor, ray_address)
    data = _samples(
        *(source, calib, options, preprocessing, set_inputs, batch_axes, fold_inputs, progress)
    )
    return explore_network(source, Path(folder), data, options, wishes, progress)


def _options(options: CompressOptions | None, by_name: CompressKeywords) -> CompressOptions:
    if options is not None and by_name:
        raise OptionError("options and keywords exclude each other", got=", ".join(by_name))
    known = [field.name for field in fields(CompressOptions)]
    unknown = [name for name in by_name if name not in known]
    if unknown:
        raise OptionError("no such option", expected=", ".join(known), got=", ".join(unknown))
    return options or CompressOptions(**by_name)


def _network(source: Network, example_inputs: Any) -> str | os.PathLike[str] | onnx.ModelProto:
    """The file or model of ``source``; a module is exported."""
    if isinstance(source, nn.Module):
        return export_module(source, example_inputs)
    if example_inputs is not None:
        raise OptionError("example_inputs belongs to a PyTorch module", got=type(source).__name__)
    return source


def _samples(
    network: str | os.PathLike[str] | onnx.ModelProto,
    calib: Source,
    options: CompressOptions,
    preprocessing: Preprocessing | Preset | None,
    set_inputs: SetInputs | None,
    batch_axes: BatchAxes | None,
    fold_inputs: bool,
    progress: Progress,
) -> Samples:
    if isinstance(calib, Samples):
        specs: Sequence[InputSpec] = calib.inputs
    elif isinstance(network, onnx.ModelProto):
        specs = input_specs(network)
    else:
        specs = read_input_specs(network)
    return as_samples(
        *(calib, specs, preprocessing),
        set_inputs=set_inputs,
        batch_axes=batch_axes,
        fold_inputs=fold_inputs,
        count=options.samples,
        seed=options.seed,
        progress=progress,
    )


def _check_output(
    output: File, source: object, data: Iterable[object], options: CompressOptions
) -> None:
    files = [Path(source), *data_files(source)] if isinstance(source, str | os.PathLike) else []
    files += files_of(os.fspath(text) for text in data if isinstance(text, str | os.PathLike))
    check_apart([output], [*files, options.plan, options.timings])


def _texts(given: SetInputs | None) -> Iterable[object]:
    """The texts of ``set_inputs`` that may name files."""
    if isinstance(given, Mapping):
        return given.values()
    return [given] if isinstance(given, str) else given or []
