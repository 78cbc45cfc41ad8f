"""OpenVINO: the float network, and int8 by NNCF's post-training quantization."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import numpy as np

from subbyte.errors import PeerError, reason
from subbyte.report.peers.source import Bind, Source


def fp32(source: Source) -> Bind:
    """The float network, computed in float32 also where the CPU has bfloat16."""
    return _compiled(_read(source), source)


def int8(source: Source) -> Bind:
    """NNCF's default preset on the samples."""
    # NNCF reports its use over the network unless this is set before its import.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    model = _read(source)
    try:
        # It draws its progress on stdout, which belongs to our own result.
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = nncf.Dataset(list(source.samples))
            model = nncf.quantize(model, dataset, subset_size=len(source.samples))
    except (RuntimeError, ValueError) as error:
        raise _refused("NNCF cannot quantize the network", source, error) from error
    return _compiled(model, source)


def _read(source: Source) -> Any:
    import openvino

    try:
        model = openvino.Core().read_model(str(source.path))
        model.reshape({name: list(array.shape) for name, array in source.samples[0].items()})
    except RuntimeError as error:
        raise _refused("OpenVINO cannot read the network", source, error) from error
    return model


def _compiled(model: Any, source: Source) -> Bind:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": source.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise _refused("OpenVINO cannot compile the network", source, error) from error

    def bind(feeds: Any) -> Any:
        for name, array in feeds.items():
            request.set_tensor(name, openvino.Tensor(np.ascontiguousarray(array)))

        def call() -> list[Any]:
            request.infer()
            return [np.array(tensor.data) for tensor in request.output_tensors]

        return call

    return bind


def _refused(what: str, source: Source, error: Exception) -> PeerError:
    return PeerError(what, where=str(source.path), got=reason(error))
