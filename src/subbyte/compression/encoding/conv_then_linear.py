"""Q-CNN's order of work: convolutions, then fine-tuning, then linear layers.

The linear layers behind the last convolution are trained, still in float, on what the coded
convolutions give, and only then coded themselves, to follow the trained network. (The paper
trains on labels; here the float network is distilled on the unlabelled samples.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.encoding.apply import apply_coded
from subbyte.compression.encoding.distill import Source, Tuner
from subbyte.compression.encoding.layer import LayerOptions
from subbyte.compression.encoding.layerwise import Encoded, LayerwiseEncoder
from subbyte.data import Samples
from subbyte.errors import CalibrationError
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network
from subbyte.graph.weight_layout import canonical
from subbyte.methods.product.form import ProductOptions
from subbyte.progress import Progress

TUNE_STEPS = 200


class _FloatWeight(nn.Module):
    """A weight [O, T, I] as it is, trained."""

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


def encode_network(
    network: Network,
    samples: Samples,
    plan: Mapping[str, LayerOptions],
    steps: int | None,
    seed: int,
    device: torch.device,
    checkpoints: Checkpoints,
    progress: Progress,
) -> tuple[Encoded, GraphModule]:
    """Code all layers of ``plan``; the results, and the network that holds them.

    ``steps``: of training between convolutions and linear layers; None: `TUNE_STEPS` where
    the plan names Q-CNN's procedure, otherwise none.
    """
    if steps is None:
        steps = TUNE_STEPS if names_q_cnn(plan) else 0
    tail = linear_tail(network)
    rest = (seed, device, checkpoints, progress)
    if not steps or not tail or len(tail) == len(network.layers):
        sequence = LayerwiseEncoder(network, samples, plan, *rest)
        return sequence.run(), sequence.compressed
    if len(samples) < 2:
        raise CalibrationError(
            "training the linear layers holds some samples back",
            expected="at least 2 samples, or --tune-linear 0",
            got=len(samples),
        )
    return _encode_in_stages(network, samples, plan, tail, steps, *rest)


def _encode_in_stages(
    network: Network,
    samples: Samples,
    plan: Mapping[str, LayerOptions],
    tail: list[Layer],
    steps: int,
    seed: int,
    device: torch.device,
    checkpoints: Checkpoints,
    progress: Progress,
) -> tuple[Encoded, GraphModule]:
    rest = (seed, device, checkpoints, progress)
    later = {layer.weight for layer in tail}
    first = LayerwiseEncoder(network, samples, plan, *rest, only=plan.keys() - later)
    convolutions = first.run()
    biases = {
        layer.name: first.compressed.bias(layer.name, layer.shape.outputs).detach()
        for layer in tail
    }
    tuner = LinearTuner(network, first.compressed, Encoded({}, biases, {}), samples, steps, *rest)
    tuner.train()
    modules = [_copy(network, first.compressed, convolutions, tail, device) for _ in range(2)]
    second = LayerwiseEncoder(
        network, samples, plan, *rest, modules=(modules[0], modules[1]), only=later
    )
    linear = second.run()
    return _merged(convolutions, linear), second.compressed


def names_q_cnn(plan: Mapping[str, LayerOptions]) -> bool:
    """Whether a layer is coded by Q-CNN's own procedure."""
    return any(
        isinstance(options, ProductOptions) and options.procedure != "corrected"
        for options in plan.values()
    )


def linear_tail(network: Network) -> list[Layer]:
    """The linear layers that run after the last convolution."""
    last = max((n for n, layer in enumerate(network.layers) if layer.op != "Linear"), default=-1)
    shared = {layer.weight for layer in network.layers[: last + 1]}
    return [layer for layer in network.layers[last + 1 :] if layer.weight not in shared]


@torch.no_grad()
def _copy(
    network: Network,
    trained: GraphModule,
    convolutions: Encoded,
    tail: list[Layer],
    device: torch.device,
) -> GraphModule:
    """The network with its convolutions coded and its linear layers as trained."""
    module = GraphModule(network).to(device).eval()
    for entry in network.unpacked:
        if entry.weight in convolutions.weights:
            apply_coded(module, entry, convolutions.weights[entry.weight])
    for layer in network.layers:
        if layer.weight in convolutions.weights:
            coded = convolutions.weights[layer.weight]
            apply_coded(module, layer, coded, convolutions.biases[layer.name])
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
