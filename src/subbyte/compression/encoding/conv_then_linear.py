"""Q-CNN's order of work: convolutions, then fine-tuning, then linear layers.

The linear layers behind the last convolution are trained, still in float, on the outputs of the
coded convolutions, and only then coded themselves, to follow the trained network. (The paper trains
on labels; here the float network is distilled on the unlabelled samples.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.distill import Source, Tuner
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.encoding.layerwise import LayerwiseEncoder
from subbyte.compression.run import Run
from subbyte.errors import CalibrationError
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.weight_layout import canonical
from subbyte.methods import MethodOptions, TrainableWeight


class _FloatWeight(TrainableWeight):
    """A weight [O, T, I] as it is, trained."""

    rates: ClassVar[Mapping[str, float]] = {"weight": 1e-4}

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self) -> Tensor:
        """The weight."""
        return self.weight


class LinearTuner(Tuner):
    """Trains the float weights and biases of the layers whose biases ``encoded`` has."""

    checkpoint = "tune-linear"

    def _make_sources(self) -> dict[str, Source]:
        # Convolutions are frozen: their gradients need not be computed.
        self._module.requires_grad_(False)
        sources = {}
        for layer in self._layers.values():
            if layer.name in self._encoded.biases:
                weight = canonical(layer, self._module.constant(layer.weight))
                sources[layer.weight] = Source(layer, _FloatWeight(weight))
                self._module.replace(layer.weight, sources[layer.weight])
        return sources

    def _make_biases(self, network: Network) -> dict[str, nn.Parameter]:
        biases = super()._make_biases(network)
        for bias in biases.values():
            bias.requires_grad_()
        return biases


def encode_network(run: Run, plan: Mapping[str, MethodOptions]) -> tuple[Encoded, GraphModule]:
    """Code all layers of ``plan``; the results, and the network that holds them.

    Convolutions and linear layers have steps of training between them: as many as the user wishes
    for, else ``run.schedule.linear_steps`` where the plan names Q-CNN's procedure, otherwise none.
    """
    steps = run.config.tune_linear
    if steps is None:
        trained = any(each.trains_linear for each in plan.values())
        steps = run.schedule.linear_steps if trained else 0
    tail = linear_tail(run.network)
    if not steps or not tail or len(tail) == len(run.network.layers):
        whole = LayerwiseEncoder(run, plan)
        return whole.run(), whole.compressed
    if len(run.samples) < 2:
        raise CalibrationError(
            "training the linear layers holds some samples back",
            expected="at least 2 samples, or `tune_linear=0`",
            got=len(run.samples),
        )
    return _encode_in_stages(run, plan, tail, steps)


def _encode_in_stages(
    run: Run, plan: Mapping[str, MethodOptions], tail: list[Layer], steps: int
) -> tuple[Encoded, GraphModule]:
    later = {layer.weight for layer in tail}
    first = LayerwiseEncoder(run, plan, only=plan.keys() - later)
    convolutions = first.run()
    biases = {
        layer.name: first.compressed.bias(layer.name, layer.shape.outputs).detach()
        for layer in tail
    }
    tuner = LinearTuner(run, first.compressed, Encoded({}, biases, {}), steps)
    tuner.train()
    modules = [_copy(run, first.compressed, convolutions, tail) for _ in range(2)]
    second = LayerwiseEncoder(run, plan, modules=(modules[0], modules[1]), only=later)
    linear = second.run()
    return _merged(convolutions, linear), second.compressed


def linear_tail(network: Network) -> list[Layer]:
    """The linear layers that run after the last convolution."""
    last = max((n for n, layer in enumerate(network.layers) if layer.op != "Linear"), default=-1)
    shared = {layer.weight for layer in network.layers[: last + 1]}
    return [layer for layer in network.layers[last + 1 :] if layer.weight not in shared]


@torch.no_grad()
def _copy(run: Run, trained: GraphModule, convolutions: Encoded, tail: list[Layer]) -> GraphModule:
    """The network with its convolutions coded and its linear layers as trained."""
    module = coded_module(run.network, convolutions, run.device)
    for layer in tail:
        module.set_constant(layer.weight, trained.constant(layer.weight))
        module.set_bias(layer.name, trained.bias(layer.name, layer.shape.outputs))
    return module


def _merged(first: Encoded, second: Encoded) -> Encoded:
    return Encoded(
        first.weights | second.weights,
        first.biases | second.biases,
        first.losses | second.losses,
    )
