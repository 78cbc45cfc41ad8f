"""How long a compressed network takes on the native kernels of this machine.

The time of a layer comes from measured kernel timings (`subbyte.runtime.timings`); the time between
the layers is measured on a blank file of the whole network. One sample, one thread.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor

from subbyte.compression.calibration.batches import on_device
from subbyte.compression.calibration.table_shifts import LEAST_WORK, Work, lookup_gains
from subbyte.compression.run import Run
from subbyte.data import Batch, Samples
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.methods import METHODS, MethodOptions
from subbyte.runtime import load
from subbyte.runtime.native.layers import Form, LayerSize, kernel_of
from subbyte.runtime.timings import Timings

_WARM_UP, _LEAST_RUNS, _BLOCK_SECONDS = 3, 3, 0.1
# Measured until so many blocks in a row have not been faster by so much.
_SETTLED_BLOCKS, _FASTER, _MOST_BLOCKS = 5, 0.01, 50
# After heavy work all runs take up to a third longer for a second or two.
_REST_SECONDS = 3.0


@dataclass(frozen=True)
class LatencyModel:
    """The parts of a compressed network's time.

    ``sizes``: of every layer that the kernels compute, by layer name. Layers that are left to ONNX
    Runtime cost the same however they are coded, and count as the network's own. ``ratios``: a
    layer's time in the network over its time alone, by the name of its format; 1 where missing.
    ``beside``: seconds of everything but layers. Both are of `latency_fit.fitted_model`.
    """

    layers: tuple[Layer, ...]
    sizes: Mapping[str, LayerSize]
    timings: Timings
    ratios: Mapping[str, float] = field(default_factory=dict)
    beside: float = 0.0

    def seconds(self, weight: str, options: MethodOptions) -> float:
        """Predicted time of all layers that read ``weight``.

        Raises:
            TimingsError: a format of weights that is not timed.
        """
        return sum(
            self.ratios.get(form.name, 1.0) * self.timings.seconds(size, form)
            for size, form in self.forms(weight, options)
        )

    def forms(self, weight: str, options: MethodOptions) -> list[tuple[LayerSize, Form]]:
        """Size and format of all layers that read ``weight``."""
        layers = [layer for layer in self.layers if layer.weight == weight]
        found = [(layer, self.sizes[layer.name]) for layer in layers if layer.name in self.sizes]
        return [(size, kernel_form(layer, size, options)) for layer, size in found]

    def looked_up(self, plan: Mapping[str, MethodOptions]) -> set[str]:
        """The names of the layers that the kernels look up when coded so."""
        return {
            layer.name
            for layer in self.layers
            if layer.weight in plan
            and layer.name in self.sizes
            and kernel_form(layer, self.sizes[layer.name], plan[layer.weight]).group > 0
        }


def latency_model(run: Run, timings: Timings) -> LatencyModel:
    """Sizes of all layers from one sample, and the timings of their kernels."""
    islands = plan_islands(run.network)
    sizes = layer_sizes(run.network, islands, run.samples.first(1), run.device)
    return LatencyModel(run.network.layers, sizes, timings)


def kernel_form(layer: Layer, size: LayerSize, options: MethodOptions) -> Form:
    """The format in which a kernel computes a layer.

    `table_shifts` decides which layers are looked up, and `kernel_of` which kernel runs. Codes of 3
    and 4 bits in convolutions take the time of int8 to a hundredth or two (decision 17), and have
    its format.
    """
    if options.binarization is not None:
        return Form(order=options.binarization.order, scales=options.binarization.scales)
    kernel = METHODS[options.method].kernel(options)
    streamed = Form(bits=kernel.streamed)
    if kernel_of(size, streamed) == "gemv_int4":
        return streamed
    if kernel.lookup:
        form = Form(kernel.lookup, kernel.gain, words=kernel.words)
        if _looked_up(layer, size, form):
            return form
    return Form()


def _looked_up(layer: Layer, size: LayerSize, form: Form) -> bool:
    if size.work < LEAST_WORK:
        return False
    pixels = math.prod(size.out)
    read = pixels if size.taps == 1 else size.height * size.width
    work = Work(size.work, read, pixels, size.linear)
    return lookup_gains(layer.shape, form.words, form.group, form.gain, work)


@torch.no_grad()
def layer_sizes(
    network: Network, islands: IslandPlan, sample: Samples, device: torch.device
) -> dict[str, LayerSize]:
    """Sizes of the layers that compute on uint8, by layer name, for one sample."""
    module = GraphModule(network).to(device).eval()
    layers = {layer.name: layer for layer in network.layers}
    found = {}
    for batch in sample.batches(1):
        for _, step, before, _ in module.walk(on_device(batch, device)):
            layer = layers.get(step.name)
            if layer is not None and islands.layers[layer.name].form != "float":
                found[layer.name] = _size(layer, before[layer.input])
    return found


def _size(layer: Layer, x: Tensor) -> LayerSize:
    shape = layer.shape
    inputs = shape.inputs * shape.groups
    if layer.op == "Linear":
        return LayerSize(x.numel() // inputs, 1, inputs, shape.outputs, linear=True)
    return LayerSize(
        *(int(x.shape[2]), int(x.shape[3]), inputs, shape.outputs, shape.groups),
        kernel=(layer.kernel_shape[0], layer.kernel_shape[1]),
        strides=(layer.strides[0], layer.strides[1]),
        dilations=(layer.dilations[0], layer.dilations[1]),
        pads=(layer.pads[0], layer.pads[1], layer.pads[2], layer.pads[3]),
    )


def rest() -> None:
    """Wait between heavy work, as coding and pricing are, and the first measurement."""
    time.sleep(_REST_SECONDS)


def measure_models(models: Iterable[onnx.ModelProto], samples: Samples) -> list[float]:
    """`measure_files` of ``models``, which are taken one at a time, as they may be large."""
    paths: list[Path] = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            paths.append(Path(folder) / f"blank-{len(paths)}.onnx")
            paths[-1].write_bytes(model.SerializeToString())
        return measure_files(paths, samples)


def measure_files(paths: Sequence[Path], samples: Samples) -> list[float]:
    """Seconds of one sample through each file on the native kernels, one thread.

    The median of the runs of a block, the least of blocks until none gets faster. Blocks of all
    files take turns, so that anything that slows the machine for a while slows all of them.

    The time is CPU time. On a machine that does nothing else it equals the clock's. Other work does
    not count, but for its effect on caches and clock rates.
    """
    batch: Batch = next(iter(samples.first(1).batches(1)))
    sessions = [load(path, engine="native", threads=1).session for path in paths]
    for session in sessions:
        for _ in range(_WARM_UP):
            session.run(None, batch)
    least, settled = [math.inf] * len(sessions), 0
    for _ in range(_MOST_BLOCKS):
        taken = [_block(session, batch) for session in sessions]
        faster = any(now < (1 - _FASTER) * old for now, old in zip(taken, least, strict=True))
        settled = 0 if faster else settled + 1
        least = [min(now, old) for now, old in zip(taken, least, strict=True)]
        if settled == _SETTLED_BLOCKS:
            break
    return least


def _block(session: onnxruntime.InferenceSession, batch: Batch) -> float:
    """The median seconds of `_BLOCK_SECONDS` of runs, but at least of `_LEAST_RUNS`."""
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _LEAST_RUNS or time.perf_counter() - started < _BLOCK_SECONDS:
        before = time.process_time()
        session.run(None, batch)
        times.append(time.process_time() - before)
    return statistics.median(times)
