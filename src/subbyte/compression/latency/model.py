"""How long a compressed network takes on the native kernels of this machine.

The time of a layer comes from measured kernel timings (`subbyte.runtime.timings`); the time between
the layers is measured on a blank file of the whole network (`Machine`). One sample, one thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from subbyte.compression.calibration.batches import on_device
from subbyte.compression.calibration.lookup_work import LEAST_WORK, Work, lookup_gains
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.islands.plan import IslandPlan, plan_islands
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.methods import METHODS, MethodOptions
from subbyte.runtime.native.layers import KernelFormat, LayerSize, kernel_of
from subbyte.runtime.timings import Timings


@dataclass(frozen=True)
class LatencyModel:
    """The parts of a compressed network's time.

    ``sizes``: of every layer that the kernels compute, by layer name. Layers that are left to ONNX
    Runtime cost the same however they are coded, and count as the network's own. ``ratios``: a
    layer's time in the network over its time alone, by the name of its format; 1 where missing.
    ``beside``: seconds of everything but layers. Both are of `latency_fit.fitted_model`.
    ``least_work``: as of `Machine`.
    """

    layers: tuple[Layer, ...]
    sizes: Mapping[str, LayerSize]
    timings: Timings
    ratios: Mapping[str, float] = field(default_factory=dict)
    beside: float = 0.0
    least_work: int = LEAST_WORK

    def seconds(self, weight: str, options: MethodOptions) -> float:
        """Predicted time of all layers that read ``weight``.

        Raises:
            TimingsError: a format of weights that is not timed.
        """
        return sum(
            self.ratios.get(form.name, 1.0) * self.timings.seconds(size, form)
            for size, form in self.forms(weight, options)
        )

    def forms(self, weight: str, options: MethodOptions) -> list[tuple[LayerSize, KernelFormat]]:
        """Size and format of all layers that read ``weight``."""
        layers = [layer for layer in self.layers if layer.weight == weight]
        found = [(layer, self.sizes[layer.name]) for layer in layers if layer.name in self.sizes]
        return [
            (size, kernel_format(layer, size, options, self.least_work)) for layer, size in found
        ]

    def looked_up(self, plan: Mapping[str, MethodOptions]) -> set[str]:
        """The names of the layers that the kernels look up when coded so."""
        return {
            layer.name
            for layer in self.layers
            if layer.weight in plan
            and layer.name in self.sizes
            and self._is_looked_up(layer, plan[layer.weight])
        }

    def _is_looked_up(self, layer: Layer, options: MethodOptions) -> bool:
        return kernel_format(layer, self.sizes[layer.name], options, self.least_work).group > 0


def latency_model(run: Run, timings: Timings, least_work: int = LEAST_WORK) -> LatencyModel:
    """Sizes of all layers from one sample, and the timings of their kernels."""
    islands = plan_islands(run.network)
    sizes = layer_sizes(run.network, islands, run.samples.first(1), run.device)
    return LatencyModel(run.network.layers, sizes, timings, least_work=least_work)


def kernel_format(
    layer: Layer, size: LayerSize, options: MethodOptions, least_work: int = LEAST_WORK
) -> KernelFormat:
    """The format in which a kernel computes a layer.

    `lookup_gains` decides which layers are looked up, and `kernel_of` which kernel runs. Codes of 3
    and 4 bits in convolutions take the time of int8 to a hundredth or two (decision 17), and have
    its format.
    """
    if options.binarization is not None:
        return KernelFormat(order=options.binarization.order, scales=options.binarization.scales)
    kernel = METHODS[options.method].kernel(options)
    streamed = KernelFormat(bits=kernel.streamed)
    if kernel_of(size, streamed) == "gemv_int4":
        return streamed
    if kernel.lookup:
        form = KernelFormat(kernel.lookup, kernel.gain, words=kernel.words)
        if size.work >= least_work and _lookup_gains(layer, size, form):
            return form
    return KernelFormat()


def _lookup_gains(layer: Layer, size: LayerSize, form: KernelFormat) -> bool:
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
