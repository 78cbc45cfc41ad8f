"""The outputs of the float network, by which a compressed one is judged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from subbyte.compression.proof.record import FLOAT
from subbyte.data import Samples
from subbyte.errors import ModelFileError, SubbyteError
from subbyte.graph.compressed.loose_shapes import loose_outputs
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network
from subbyte.graph.query import dims
from subbyte.runtime import Model, load

MOST_BYTES = 1 << 28
"""Float outputs that are kept, for as long as the engines run."""

MOST_SERIALIZED = (1 << 31) - 1

Outputs = list[NDArray[Any]]
Source = str | os.PathLike[str] | onnx.ModelProto
Ran = Callable[[Samples], Outputs]
Step = Callable[[], None]


class FloatOutputs:
    """The float ``network`` that was read from ``source``.

    ONNX Runtime runs the source itself, so that the reader's work is judged too. Where ONNX Runtime
    cannot, and where there is no source, ``module`` stands in, by default our module of
    ``network``. ``engine`` and ``reason`` are the ones of `Proof` once it has run.
    """

    def __init__(
        self,
        network: Network,
        source: Source | None,
        module: Callable[[], nn.Module] | None = None,
        compared_with: str = FLOAT,
    ) -> None:
        self._source, self._network = source, network
        self._module = module or (lambda: GraphModule(network).eval())
        self.compared_with = compared_with
        self.fixed_batch = network.fixed_batch
        self.names = [str(value.name) for value in network.model.graph.outputs]
        self.loose = loose_outputs(network)
        self.engine = "onnxruntime"
        self.reason: str | None = None

    def run(self, parts: Sequence[Samples], step: Step) -> list[Outputs]:
        """The outputs of every part, or of the first ones: until `MOST_BYTES`, or a batch that
        the float network itself does not take."""
        if self._source is not None:
            try:
                with model_file(self._source) as path:
                    model = load(path, engine="portable")
                baked = parts[0].baked(model.inputs) if self.fixed_batch is None else None
                axes = [_batch_axis(value) for value in self._network.model.graph.outputs]
                return _collect(lambda part: _run(model, part, baked, axes), parts, step)
            except SubbyteError as error:
                # The file of a model in memory is a temporary one.
                own = isinstance(self._source, onnx.ModelProto)
                self.reason = str(error.got or error) if own else str(error)
        self.engine = "module"
        module = self._module()
        return _collect(lambda part: _run_module(module, part), parts, step)


def _collect(run: Ran, parts: Sequence[Samples], step: Step) -> list[Outputs]:
    found: list[Outputs] = []
    for part in parts:
        if len(found) > 1 and sum(x.nbytes for each in found for x in each) > MOST_BYTES:
            break
        try:
            found.append(run(part))
        except (SubbyteError, RuntimeError):
            if not found or len(part) == len(parts[0]):
                raise
            break
        step()
    return found


@contextmanager
def model_file(source: Source) -> Iterator[Path]:
    """The file of a network, a temporary one of a model in memory."""
    if not isinstance(source, onnx.ModelProto):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="subbyte-") as folder:
        if source.ByteSize() > MOST_SERIALIZED:
            raise ModelFileError("too large for one file", got=f"{source.ByteSize()} bytes")
        path = Path(folder, "float.onnx")
        path.write_bytes(source.SerializeToString())
        yield path


def _batch_axis(value: ir.Value) -> int:
    """Where an output has its batch, in a network whose batch was freed."""
    sizes = dims(value) or ()
    return next((axis for axis, size in enumerate(sizes) if not isinstance(size, int)), 0)


def _run(model: Model, part: Samples, baked: int | None, axes: Sequence[int]) -> Outputs:
    """``baked``: the batch that an exporter has baked into the file, though the network can do
    others."""
    if baked is None:
        return outputs_of(model, part)
    count = len(part)
    index = np.minimum(np.arange(-(-count // baked) * baked), count - 1)
    pieces = [outputs_of(model, part.select(rows)) for rows in index.reshape(-1, baked)]
    columns = zip(*pieces, strict=True)
    return [_joined(each, baked, count, axis) for each, axis in zip(columns, axes, strict=True)]


def _joined(arrays: Sequence[NDArray[Any]], size: int, count: int, axis: int) -> NDArray[Any]:
    """Outputs of batches of ``size`` joined as the output of one batch of ``count`` samples."""
    if axis >= arrays[0].ndim or arrays[0].shape[axis] % size:
        return arrays[0]
    rows = count * (arrays[0].shape[axis] // size)
    return np.concatenate(arrays, axis).take(range(rows), axis)


def outputs_of(model: Model, part: Samples) -> Outputs:
    """The outputs of ``model`` for all samples of ``part`` in one batch."""
    found = model.run(part.feeds(model.input_names))
    return list(found) if isinstance(found, tuple) else [found]


@torch.no_grad()
def _run_module(module: nn.Module, part: Samples) -> Outputs:
    inputs = [torch.from_numpy(array) for array in next(iter(part.batches(len(part)))).values()]
    found = module(*inputs)
    outputs: Sequence[Tensor] = found if isinstance(found, (tuple, list)) else (found,)
    return [output.detach().cpu().numpy() for output in outputs]
