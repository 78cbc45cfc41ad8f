"""ONNX Runtime with its own static int8 quantization."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from subbyte.errors import PeerError, reason
from subbyte.graph.load.accept import put_right
from subbyte.graph.load.convert import lift
from subbyte.report.peers.source import Bind, Feeds, Source
from subbyte.runtime import load

LEAST_OPSET = 13
"""The first operator set whose DequantizeLinear has an axis, which weights per channel need."""


@dataclass(frozen=True)
class _Way:
    """How onnxruntime's tools are used.

    ``batch_too``: the batch's size is fixed as well; the fewer sizes are fixed, the more batches
    the file takes. ``symbols``: sizes are inferred with symbols. ``optimized``: nodes are joined
    first. ``adjusted``: scales of weights are raised where a bias would not fit 32 bits (which
    fails in onnxruntime 1.32 for layers of one output channel among others).
    """

    batch_too: bool = False
    symbols: bool = True
    optimized: bool = True
    adjusted: bool = True


_WAYS = (
    _Way(),
    _Way(batch_too=True),
    _Way(batch_too=True, symbols=False),
    _Way(batch_too=True, symbols=False, adjusted=False),
    _Way(batch_too=True, symbols=False, adjusted=False, optimized=False),
)
"""Tried in turn, until onnxruntime opens the file that it has made."""


def int8(source: Source) -> Bind:
    """The network of `quantized` in ONNX Runtime."""
    session = load(quantized(source), engine="portable", threads=source.threads).session
    return lambda feeds: lambda: list(session.run(None, feeds))


def quantized(source: Source) -> Path:
    """A file in QDQ form: activations uint8 (least and greatest value), weights int8 per
    output channel. Its inputs have the sizes of the samples, and a free batch where
    onnxruntime can quantize such a network. Older operator sets are lifted first.

    Raises:
        PeerError: onnxruntime makes no file, or one that it cannot open, or quantizes nothing.
    """
    # Its packages may be missing: that is for the caller to say.
    import onnxruntime.quantization.shape_inference  # noqa: F401

    failures = []
    given = replace(source, path=source.path.resolve(), folder=source.folder.resolve())
    for way in _WAYS:
        try:
            # Where it cannot infer a shape, it leaves a copy of the network where it runs.
            with contextlib.chdir(given.folder):
                return _opened(_quantize(given, way))
        except PeerError:
            raise
        # onnxruntime's tools raise anything, plain Exception and assert too.
        except Exception as error:
            failures.append(error)
    raise PeerError(
        "onnxruntime cannot quantize the network",
        where=str(source.path),
        got=f"{type(failures[-1]).__name__}: {reason(failures[-1])}",
    ) from failures[-1]


def _opened(path: Path) -> Path:
    load(path, engine="portable")
    nodes = onnx.load(path, load_external_data=False).graph.node
    if not any(node.op_type == "QuantizeLinear" for node in nodes):
        raise PeerError(
            "onnxruntime quantizes nothing of the network",
            expected="weights outside of the branches of If and the bodies of Loop",
        )
    return path


def _quantize(source: Source, way: _Way) -> Path:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = ("ort-fixed.onnx", "ort-ready.onnx", "ort-int8.onnx")
    fixed, ready, target = (source.folder / name for name in names)
    model = _lifted(onnx.load(source.path), str(source.path))
    _fix_sizes(model.graph, source.samples[0], way.batch_too)
    onnx.save(model, fixed)
    quant_pre_process(
        *(str(fixed), str(ready)),
        skip_optimization=not way.optimized,
        skip_symbolic_shape=not way.symbols,
    )
    quantization.quantize_static(
        str(ready),
        str(target),
        _Reader(source.samples),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        extra_options={"QDQDisableWeightAdjustForInt32Bias": not way.adjusted},
    )
    return target


def _lifted(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or min(versions) >= LEAST_OPSET:
        return model
    return lift(put_right(model), min(versions), LEAST_OPSET, where)


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
