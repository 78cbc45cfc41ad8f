"""What the float network gives, by which a compressed one is judged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from subbyte.compress.proof import FLOAT
from subbyte.data import InputSpec, Samples
from subbyte.errors import ModelFileError, SubbyteError
from subbyte.graph.loose_shapes import loose_outputs
from subbyte.graph.module import GraphModule
from subbyte.graph.network import Network
from subbyte.runtime import Model, load

MOST_BYTES = 1 << 28
"""Float outputs that are kept, for as long as the engines run."""

MOST_SERIALIZED = (1 << 31) - 1

Outputs = list[NDArray[Any]]
Source = str | os.PathLike[str] | onnx.ModelProto
Ran = Callable[[Samples], Outputs]
Step = Callable[[], None]


class Reference:
    """The float ``network`` that was read from ``source``.

    ONNX Runtime runs the source itself, so that what the reader makes of a network is judged too.
    Where ONNX Runtime cannot, and where there is no source, ``module`` stands in, by default our
    module of ``network``. ``engine`` and ``reason`` are those of `Proof` once it has run.
    """

    def __init__(
        self,
        network: Network,
        source: Source | None,
        module: Callable[[], nn.Module] | None = None,
        original: str = FLOAT,
    ) -> None:
        self._source, self._network = source, network
        self._module = module or (lambda: GraphModule(network).eval())
        self.original = original
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
                with _file(self._source) as path:
                    model = load(path, engine="portable")
                baked = baked_batch(model.inputs) if self.fixed_batch is None else None
                return _collect(lambda part: _run(model, part, baked), parts, step)
            except SubbyteError as error:
                self.reason = str(error)
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
def _file(source: Source) -> Iterator[Path]:
    if not isinstance(source, onnx.ModelProto):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="subbyte-") as folder:
        if source.ByteSize() > MOST_SERIALIZED:
            raise ModelFileError("too large for one file", got=f"{source.ByteSize()} bytes")
        path = Path(folder, "float.onnx")
        path.write_bytes(source.SerializeToString())
        yield path


def baked_batch(inputs: Sequence[InputSpec]) -> int | None:
    """The only batch that a file takes, which an exporter has baked into all its inputs; the
    network that is read from it may do others."""
    firsts = {spec.shape[0] for spec in inputs if spec.shape}
    first = firsts.pop() if len(firsts) == 1 else None
    return first if isinstance(first, int) else None


def _run(model: Model, part: Samples, baked: int | None) -> Outputs:
    if baked is None:
        return outputs_of(model, part)
    count = len(part)
    index = np.minimum(np.arange(-(-count // baked) * baked), count - 1)
    pieces = [outputs_of(model, part.select(rows)) for rows in index.reshape(-1, baked)]
    return [_joined(column, baked, count) for column in zip(*pieces, strict=True)]


def _joined(arrays: Sequence[NDArray[Any]], size: int, count: int) -> NDArray[Any]:
    """Outputs of batches of ``size`` as that of one batch of ``count`` samples."""
    if not arrays[0].ndim or len(arrays[0]) % size:
        return arrays[0]
    return np.concatenate(arrays)[: count * (len(arrays[0]) // size)]


def outputs_of(model: Model, part: Samples) -> Outputs:
    """The outputs of ``model`` for all samples of ``part`` in one batch."""
    found = model.run(next(iter(part.batches(len(part)))))
    return list(found) if isinstance(found, tuple) else [found]


@torch.no_grad()
def _run_module(module: nn.Module, part: Samples) -> Outputs:
    inputs = [torch.from_numpy(array) for array in next(iter(part.batches(len(part)))).values()]
    found = module(*inputs)
    outputs: Sequence[Tensor] = found if isinstance(found, (tuple, list)) else (found,)
    return [output.detach().cpu().numpy() for output in outputs]
