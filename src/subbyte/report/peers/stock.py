"""ONNX Runtime with its own static int8 quantization."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from subbyte.errors import PeerError, reason
from subbyte.report.peers.source import Bind, Feeds, Source
from subbyte.runtime import load

# Tried in turn: whether the batch's size is fixed too, and whether sizes are inferred
# without symbols. The fewer are fixed, the more batches the file takes.
_WAYS = ((False, False), (True, False), (True, True))


def int8(source: Source) -> Bind:
    """The network of `quantized` in ONNX Runtime."""
    session = load(quantized(source), engine="portable", threads=source.threads).session
    return lambda feeds: lambda: list(session.run(None, feeds))


def quantized(source: Source) -> Path:
    """A file in QDQ form: activations uint8 (least and greatest value), weights int8 per
    output channel. Its inputs have the sizes of the samples, and a free batch where
    onnxruntime can quantize such a network. Raises `PeerError` where it can make no file."""
    # Its packages may be missing: that is for the caller to say.
    import onnxruntime.quantization.shape_inference  # noqa: F401

    failures = []
    given = replace(source, path=source.path.resolve(), folder=source.folder.resolve())
    for batch_too, without_symbols in _WAYS:
        try:
            # Where it cannot infer a shape, it leaves a copy of the network where it runs.
            with contextlib.chdir(given.folder):
                return _quantize(given, batch_too, without_symbols)
        # onnxruntime's tools raise anything, plain Exception and assert too.
        except Exception as error:
            failures.append(error)
    raise PeerError(
        "onnxruntime cannot quantize the network",
        where=str(source.path),
        got=f"{type(failures[-1]).__name__}: {reason(failures[-1])}",
    ) from failures[-1]


def _quantize(source: Source, batch_too: bool, without_symbols: bool) -> Path:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = ("ort-fixed.onnx", "ort-ready.onnx", "ort-int8.onnx")
    fixed, ready, target = (source.folder / name for name in names)
    model = onnx.load(source.path)
    _fix_sizes(model.graph, source.samples[0], batch_too)
    onnx.save(model, fixed)
    quant_pre_process(str(fixed), str(ready), skip_symbolic_shape=without_symbols)
    quantization.quantize_static(
        str(ready),
        str(target),
        _Reader(source.samples),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )
    return target


def _fix_sizes(graph: onnx.GraphProto, feeds: Feeds, batch_too: bool) -> None:
    """Give the inputs the sizes of ``feeds``; free sizes of other values are left to inference."""
    for value in graph.input:
        if value.name in feeds:
            dims = value.type.tensor_type.shape.dim
            for axis, size in enumerate(feeds[value.name].shape[: len(dims)]):
                if axis > 0 or batch_too:
                    dims[axis].dim_value = size
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


class _Reader:
    """Hands the samples over, as ``quantize_static`` asks for them."""

    def __init__(self, samples: Sequence[Feeds]) -> None:
        self._feeds = iter(samples)

    def get_next(self) -> Feeds | None:
        return next(self._feeds, None)
