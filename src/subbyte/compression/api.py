"""``subbyte.compress`` and ``subbyte.plan``: the Python form of the commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from subbyte.compression.config import DEFAULT_BITS, CompressOptions
from subbyte.compression.pipeline import Compressed, compress_network, plan_network
from subbyte.compression.planning.plan_text import NetworkPlan
from subbyte.data import (
    BatchAxes,
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
from subbyte.outputs import File, check_apart, files_of
from subbyte.progress import Progress, silent

Network = str | os.PathLike[str] | onnx.ModelProto | nn.Module


def compress(
    source: Network,
    output: str | os.PathLike[str],
    calib: Source,
    options: CompressOptions | None = None,
    *,
    example_inputs: Any = None,
    preprocessing: Preprocessing | Preset | None = None,
    set_inputs: SetInputs | None = None,
    batch_axes: BatchAxes | None = None,
    fold_inputs: bool = False,
    progress: Progress = silent,
    **wishes: Any,
) -> Compressed:
    """Compress a network and write it to ``output``.

    Args:
        source: an ONNX file, an onnx.ModelProto, or a torch.nn.Module (exported with
            ``example_inputs``, a tensor or a tuple of tensors, batch first).
        output: the ONNX file to write.
        calib: a few hundred unlabelled samples: an array [N, ...], a mapping from input names to
            arrays, ``FILE.npz[:array]``, a folder of images, a DataLoader, or any other source of
            `subbyte.data.as_samples`.
        options: `CompressOptions`; or give its fields as keywords (``bits=2.0``).
        preprocessing: applied to ``calib`` unless it is `Samples`; or the name of a preset. The
            file records it (`Model.preprocessing`).
        set_inputs, batch_axes, fold_inputs: inputs that are no samples, and where the batch of the
            others is, as `subbyte.data.as_samples`.
        progress: called as progress(stage, done, total, detail).

    Raises:
        SubbyteError: anything wrong with the input; nothing is written then.
    """
    options = _options(options, wishes)
    _check_output(output, source, [calib, *_texts(set_inputs)], options)
    network = _network(source, example_inputs)
    samples = _samples(
        *(network, calib, options, preprocessing, set_inputs, batch_axes, fold_inputs, progress)
    )
    return compress_network(network, output, samples, options, progress)


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
    **wishes: Any,
) -> NetworkPlan:
    """Choose how each layer of a network is coded, within a budget; nothing is coded yet.

    It takes the arguments of `compress`. `NetworkPlan.save` writes the plan to a file, which
    ``compress(..., plan=FILE)`` obeys; `NetworkPlan.to_dict` has its figures.

    Raises:
        SubbyteError: anything wrong with the input.
    """
    options = _options(options, wishes)
    if options.budget is None and options.plan is None:
        options = replace(options, bits=DEFAULT_BITS)
    network = _network(source, example_inputs)
    samples = _samples(
        *(network, calib, options, preprocessing, set_inputs, batch_axes, fold_inputs, progress)
    )
    return plan_network(network, samples, options, progress)


def _options(options: CompressOptions | None, wishes: Mapping[str, Any]) -> CompressOptions:
    if options is not None and wishes:
        raise OptionError("options and keywords exclude each other", got=", ".join(wishes))
    return options or CompressOptions(**wishes)


def _network(source: Network, example_inputs: Any) -> str | os.PathLike[str] | onnx.ModelProto:
    """The file or model of ``source``; a module is exported."""
    if isinstance(source, nn.Module):
        return export_module(source, example_inputs)
    if example_inputs is not None:
        raise OptionError("example_inputs belongs to a PyTorch module", got=type(source).__name__)
    if isinstance(source, onnx.ModelProto | str | os.PathLike):
        return source
    raise OptionError(
        "no network to compress",
        expected="an ONNX file, an onnx.ModelProto or a torch.nn.Module (not its class)",
        got=type(source).__name__,
    )


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
        return calib
    if isinstance(network, onnx.ModelProto):
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
