"""ONNX Runtime with its own static int8 quantization."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from subbyte.errors import PeerError, reason
from subbyte.report.peers.source import Bind, Feeds, Source
from subbyte.runtime import load
from subbyte.runtime.ort import ERRORS

_ERRORS: tuple[type[Exception], ...] = (*ERRORS, RuntimeError, ValueError)


def int8(source: Source) -> Bind:
    """The network of `quantized` in ONNX Runtime."""
    session = load(quantized(source), engine="portable", threads=source.threads).session
    return lambda feeds: lambda: list(session.run(None, feeds))


def quantized(source: Source) -> Path:
    """A file in QDQ form: activations uint8 (least and greatest value), weights int8 per
    output channel. Raises `PeerError` where onnxruntime cannot make one."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready, target = source.folder / "ort-ready.onnx", source.folder / "ort-int8.onnx"
    try:
        quant_pre_process(str(source.path), str(ready))
        quantization.quantize_static(
            str(ready),
            str(target),
            _Reader(source.samples),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
    except _ERRORS as error:
        raise PeerError(
            "onnxruntime cannot quantize the network",
            where=str(source.path),
            got=reason(error),
        ) from error
    return target


class _Reader:
    """Hands the samples over, as ``quantize_static`` asks for them."""

    def __init__(self, samples: Sequence[Feeds]) -> None:
        self._feeds = iter(samples)

    def get_next(self) -> Feeds | None:
        return next(self._feeds, None)
