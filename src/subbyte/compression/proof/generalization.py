"""How much closer a compressed network is to float on the samples it was made from than on others.

Weights are fitted to the calibration samples. Where those are few, layers and network are much
closer to float on them than on new samples, and more samples would help. Both networks run as
float modules, with the coded weights and without 8-bit activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from subbyte.compression.calibration.batches import chunk_size, on_device
from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.proof.tally import Tally
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.module.graph_module import GraphModule

MOST_SAMPLES = 32


@dataclass(frozen=True)
class Gap:
    """A divergence from float on ``calibration`` samples, and on ``held`` back ones."""

    calibration: float
    held: float

    @property
    def with_twice_the_samples(self) -> float:
        """The held-back divergence that twice the calibration samples would leave, about.

        Least squares with p parameters and N samples has s (1 - p / N) on them and s (1 + p / N)
        on others. The mean of both is the limit, and twice the samples halve the rest.
        """
        return self.held - max(0.0, self.held - self.calibration) / 4


@dataclass(frozen=True)
class Generalization:
    """The gaps of the whole ``network`` and of the output of each of the ``layers``, by node name.

    The network's is the sum over its outputs of `Divergence.harm`. A layer's is the squared error
    of its output over the output's variance, with all layers before it compressed too.
    ``samples``: how many of either kind were run.
    """

    network: Gap
    layers: Mapping[str, Gap]
    samples: tuple[int, int]

    def document(self) -> dict[str, Any]:
        """As JSON: the attributes, ``layers`` a list of objects with ``name``."""
        return {
            "samples": {"calibration": self.samples[0], "held_back": self.samples[1]},
            "network": _document(self.network),
            "with_twice_the_samples": self.network.with_twice_the_samples,
            "layers": [{"name": name} | _document(gap) for name, gap in self.layers.items()],
        }


def _document(gap: Gap) -> dict[str, float]:
    return {"calibration": gap.calibration, "held_back": gap.held}


@torch.no_grad()
def generalization(run: Run, encoded: Encoded, held: Samples) -> Generalization | None:
    """Compare the network with its ``encoded`` form on the samples of ``run``, which it was made
    from, and on ``held``, none of them; `MOST_SAMPLES` of either.

    None where no output can be compared, as shapes depend on values.
    """
    modules = (
        GraphModule(run.network).to(run.device).eval(),
        coded_module(run.network, encoded, run.device).eval(),
    )
    layers = {
        layer.name: layer.output for layer in run.network.layers if layer.weight in encoded.weights
    }
    kinds = [_spread(run.samples), _spread(held)]
    fit, others = (_compare(modules, layers, samples, run.device) for samples in kinds)
    outputs = [_gap(fit[name], others[name], "harm") for name in modules[0].output_names]
    gaps = [gap for gap in outputs if gap is not None]
    if not gaps:
        return None
    network = Gap(sum(gap.calibration for gap in gaps), sum(gap.held for gap in gaps))
    found = {name: _gap(fit[output], others[output], "error") for name, output in layers.items()}
    by_layer = {name: gap for name, gap in found.items() if gap is not None}
    return Generalization(network, by_layer, (len(kinds[0]), len(kinds[1])))


def _gap(fit: Tally, others: Tally, measure: Literal["harm", "error"]) -> Gap | None:
    one, other = fit.divergence(), others.divergence()
    if one is None or other is None:
        return None
    return Gap(one.harm, other.harm) if measure == "harm" else Gap(one.error, other.error)


def _spread(samples: Samples) -> Samples:
    """`MOST_SAMPLES` of ``samples`` from first to last: sets are often sorted by class."""
    places = np.linspace(0, len(samples) - 1, min(MOST_SAMPLES, len(samples)))
    return samples.select(np.unique(places.round().astype(np.int64)))


def _compare(
    modules: tuple[GraphModule, GraphModule],
    layers: Mapping[str, str],
    samples: Samples,
    device: torch.device,
) -> dict[str, Tally]:
    """Every output of the network and of the ``layers``, by the name of the value."""
    tallies = {name: Tally() for name in (*modules[0].output_names, *layers.values())}
    for batch in samples.batches(chunk_size(modules[0], samples, device)):
        inputs = on_device(batch, device)
        found = zip(*(module.computed(inputs, tallies.keys()) for module in modules), strict=True)
        for (name, ours), (_, theirs) in found:
            tallies[name].add(ours.cpu().numpy(), theirs.cpu().numpy())
    return tallies
