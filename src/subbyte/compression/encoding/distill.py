"""Tuning: distillation from the float network on the same unlabelled samples.

Codebooks, scales and biases are trained (Adam, cosine schedule) to lower the divergence between the
float network's outputs and the compressed one's. Codes are held, except in layers whose first error
is large, where moving them pays for its overfitting. A part of the samples is held back: the state
with the least divergence on it is kept, the untuned one included, so tuning never makes that worse.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.divergence import as_tuple, divergence
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.run import Run
from subbyte.compression.training import State, Training, pack, unpack
from subbyte.errors import OptionError
from subbyte.graph.module.gradient import untrained
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Network, Weighted
from subbyte.graph.weight_layout import canonical, to_onnx_layout
from subbyte.methods import TrainableWeight, trainable

BATCH = 64
HELD_BACK = 0.15
MOST_HELD_BACK = 512
BIAS_RATE = 3e-4


class Source(nn.Module):
    """A layer's weight in the layout its node wants, from its trainable parts."""

    def __init__(self, layer: Weighted, weight: TrainableWeight) -> None:
        super().__init__()
        self.layer, self.weight = layer, weight

    def forward(self) -> Tensor:
        """The weight as its node reads it."""
        return to_onnx_layout(self.layer, self.weight())


def check_tunable(network: Network) -> dict[str, str]:
    """Layers that cannot be tuned, as `untrained`.

    Raises:
        OptionError: no output has a gradient, as all are integers, or none reaches a layer.
    """
    outputs = network.model.graph.outputs
    if not any(x.dtype is None or x.dtype.is_floating_point() for x in outputs):
        raise OptionError(
            "`tune` and `tune_linear` need an output that is no integer",
            where=network.name,
            got=", ".join(f"{x.name} ({x.dtype})" for x in outputs),
        )
    blocked = untrained(network)
    if len(blocked) == len(network.layers):
        raise OptionError(
            "`tune` and `tune_linear` need a layer that a gradient reaches",
            where=network.name,
            got="operators without one behind every layer: "
            + ", ".join(dict.fromkeys(blocked.values())),
        )
    return blocked


class Tuner:
    """Trains the compressed network of a `LayerwiseEncoder` in place."""

    checkpoint = "tune"

    def __init__(self, run: Run, compressed: GraphModule, encoded: Encoded, steps: int) -> None:
        network, samples = run.network, run.samples
        self._name, self._steps = network.name, steps
        self._module, self._encoded = compressed, encoded
        self._schedule = run.schedule
        self._device, self._checkpoints, self._progress = run.device, run.checkpoints, run.progress
        self._teacher = GraphModule(network).to(run.device).eval()
        self._rng = np.random.default_rng(run.config.seed)
        order = self._rng.permutation(len(samples))
        held = min(MOST_HELD_BACK, max(1, round(HELD_BACK * len(samples))))
        self._held, self._train = (
            samples.select(np.sort(order[:held])),
            samples.select(order[held:]),
        )
        self._chunk = chunk_size(compressed, samples, run.device)
        self._layers = {entry.weight: entry for entry in network.weighted}
        self._sources = self._make_sources()
        self._biases = self._make_biases(network)
        self._parts = nn.ModuleDict(
            {str(i): source for i, source in enumerate(self._sources.values())}
        )
        self._parts["biases"] = nn.ParameterList(self._biases.values())

    def _make_sources(self) -> dict[str, Source]:
        sources = {}
        for weight, coded in self._encoded.weights.items():
            part = trainable(
                coded,
                move=self._encoded.losses[weight] > self._schedule.move_above,
                reference=canonical(self._layers[weight], self._teacher.constant(weight).detach()),
            )
            sources[weight] = Source(self._layers[weight], part.to(self._device))
            self._module.replace(weight, sources[weight])
        return sources

    def _make_biases(self, network: Network) -> dict[str, nn.Parameter]:
        biases = {}
        for layer in network.layers:
            if layer.name in self._encoded.biases:
                self._module.set_bias(layer.name, self._encoded.biases[layer.name])
                biases[layer.name] = _bias_parameter(self._module, layer.name)
        return biases

    def run(self) -> Encoded:
        """Train, keep the best, return it packed."""
        self.train()
        return self._result()

    def train(self) -> None:
        """Train, and put the best into the module."""
        Training(
            self._parts,
            self._groups(),
            self._steps,
            Shuffled(len(self._train), self._rng),
            self._losses,
            self._schedule.check_every,
            self._say,
            _TuningStore(self._checkpoints, self.checkpoint),
            judge=self._harm,
            warm_up=self._schedule.warm_up,
            where=self._name,
        ).run()

    def _say(self, done: int, harm: float) -> None:
        self._progress("tune", done, self._steps, f"held-back divergence {harm:.4f}")

    def _groups(self) -> list[dict[str, object]]:
        """Parameter groups by kind, each with its own base rate."""
        kinds: dict[float, list[nn.Parameter]] = {}
        given = self._schedule.rates
        for source in self._sources.values():
            for name, parameter in source.weight.named_parameters():
                rate = given.get(name, source.weight.rates[name])
                kinds.setdefault(rate, []).append(parameter)
        kinds.setdefault(given.get("bias", BIAS_RATE), []).extend(self._biases.values())
        return [{"params": found, "lr": rate} for rate, found in kinds.items()]

    def _losses(self, index: NDArray[np.intp]) -> Iterator[Tensor]:
        batch = self._train.select(index)
        for part in batch.batches(self._chunk):
            inputs = on_device(part, self._device).values()
            with torch.no_grad():
                wanted = as_tuple(self._teacher(*inputs))
            loss = divergence(wanted, as_tuple(self._module(*inputs)))
            yield loss * (part.count / len(batch))

    @torch.no_grad()
    def _harm(self) -> float:
        total = 0.0
        for part in self._held.batches(self._chunk):
            inputs = on_device(part, self._device).values()
            harm = divergence(as_tuple(self._teacher(*inputs)), as_tuple(self._module(*inputs)))
            total += float(harm) * part.count
        return total / len(self._held)

    def _result(self) -> Encoded:
        weights = {name: source.weight.coded() for name, source in self._sources.items()}
        biases = {name: value.detach().cpu() for name, value in self._biases.items()}
        return Encoded(weights, biases, self._encoded.losses)


class Shuffled:
    """Batches of indices below ``count``, `BATCH` at most, reshuffled by ``rng`` every epoch.

    The indices that are left at the end of an epoch are not used in it.
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count, self._rng, self._taken = count, rng, 0
        self._batches = self._epochs()

    def __next__(self) -> NDArray[np.intp]:
        """Indices of the next batch."""
        self._taken += 1
        return next(self._batches)

    def _epochs(self) -> Iterator[NDArray[np.intp]]:
        size = min(BATCH, self._count)
        while True:
            order = self._rng.permutation(self._count)
            yield from (order[n : n + size] for n in range(0, self._count - size + 1, size))

    def state(self) -> State:
        """The number of batches that were taken."""
        return {"taken": self._taken}

    def restore(self, state: State) -> None:
        """Pass over the batches that were taken; for a stream of which none was."""
        for _ in range(state["taken"]):
            next(self)


class _TuningStore:
    """The state of a training among the checkpoints of a run."""

    def __init__(self, checkpoints: Checkpoints, name: str) -> None:
        self._checkpoints, self._name = checkpoints, name

    def load(self) -> State | None:
        found = self._checkpoints.load(self._name)
        return None if found is None else unpack(found[0]["state"].tobytes())

    def save(self, state: State) -> None:
        self._checkpoints.save(self._name, {"state": np.frombuffer(pack(state), np.uint8)})


def _bias_parameter(module: GraphModule, node: str) -> nn.Parameter:
    """The parameter that ``module`` itself reads as the bias of layer ``node``."""
    name = next(step.inputs[2] for step in module.steps if step.name == node)
    value = module.constant(str(name))
    assert isinstance(value, nn.Parameter)  # noqa: S101 - what set_bias makes
    return value
