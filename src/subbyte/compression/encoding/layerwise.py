"""Layer by layer through the network, float and compressed side by side.

For each layer in execution order: bring both networks up to it, sum up the layer's moments over all
samples, encode the weight, put the coded weight into the compressed network, go on. Only the values
that are still needed are kept, see `ActivationStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from subbyte.compression.calibration.activation_store import ActivationStore, Environment
from subbyte.compression.calibration.batches import MAX_CHUNK, chunk_size, on_device
from subbyte.compression.calibration.estimates.shrinkage import FOLDS
from subbyte.compression.calibration.moments import PAPER_DAMPING, Moments, Target, damping_of
from subbyte.compression.calibration.row_sampler import RowSampler, positions_per_sample
from subbyte.compression.calibration.unpacked import values_read
from subbyte.compression.encoding.apply import apply_coded
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.encoding.layer import encode_weight
from subbyte.compression.encoding.unpacked import Evidence
from subbyte.compression.run import Run
from subbyte.data.folds import deal
from subbyte.graph.module.graph_module import GraphModule
from subbyte.graph.network import Layer, Network, Unpacked, Weighted
from subbyte.graph.weight_layout import canonical, output_layers
from subbyte.methods import CodedWeight, Fit, MethodOptions, decode_weight


class LayerwiseEncoder:
    """One pass over the layers of the network of ``run``.

    ``modules``: the network to follow, whose weights are dropped behind the pass, and the one to
    code, where parts of both are coded already; by default both are the float network. ``only``:
    the weights to code in this pass; by default all of the plan's. ``store``: makes the store of
    values in a folder. ``most_samples``: in a chunk.
    """

    def __init__(
        self,
        run: Run,
        plan: Mapping[str, MethodOptions],
        modules: tuple[GraphModule, GraphModule] | None = None,
        only: Collection[str] | None = None,
        store: Callable[[Path], ActivationStore] = ActivationStore,
        most_samples: int = MAX_CHUNK,
    ) -> None:
        self._network, self._samples, self._plan = run.network, run.samples, plan
        self._seed, self._device = run.config.seed, run.device
        self._checkpoints, self._progress = run.checkpoints, run.progress
        self._float, self.compressed = modules or _modules(run.network, run.device)
        self._only = plan.keys() if only is None else only
        self._published = any(options.published for options in plan.values())
        self._step = {step.name: i for i, step in enumerate(self._float.steps)}
        self._last = {name: i for i, step in enumerate(self._float.steps) for name in step.inputs}
        self._open_store = store
        self._chunk = chunk_size(self._float, run.samples, run.device, most_samples)
        self._sampler = RowSampler(run, self._float, self._chunk)
        self._folds = torch.from_numpy(deal(run.samples, FOLDS, run.config.seed))
        self._outputs = output_layers(run.network)
        self._done = Encoded({}, {}, {})

    @torch.no_grad()
    def run(self) -> Encoded:
        """Encode every layer of the plan; the coded network is left in ``compressed``."""
        entries = [entry for entry in self._network.weighted if entry.weight in self._plan]
        store = self._open_store(self._checkpoints.folder)
        try:
            self._fill(store)
            at_float, at_coded = 0, 0
            for step, numbers in self._stops(entries):
                first = entries[numbers[0]]
                self._progress("encode", numbers[0], len(entries), first.name)
                if isinstance(first, Layer):
                    self._layer(store, first, numbers[0], at_float, at_coded)
                else:
                    found = {n: e for n in numbers if isinstance(e := entries[n], Unpacked)}
                    self._unpacked(store, found, step, at_float, at_coded)
                at_float, at_coded = step + 1, step
                for number in numbers:
                    if self._last[entries[number].weight] == step:
                        self._float.forget(entries[number].weight)
            self._progress("encode", len(entries), len(entries), "")
        finally:
            store.close()
        return self._done

    def _stops(self, entries: list[Weighted]) -> Iterator[tuple[int, list[int]]]:
        """The steps at which the pass stops, in order, and which of ``entries`` it codes there:
        a layer, or the weights of another node that are not coded yet."""
        stops: dict[int, list[int]] = {}
        for number, entry in enumerate(entries):
            if entry.weight in self._only:
                stops.setdefault(self._place(entry), []).append(number)
        seen: set[str] = set()
        for step in sorted(stops):
            numbers = stops[step]
            if isinstance(entries[numbers[0]], Unpacked):
                numbers = [n for n in numbers if entries[n].weight not in seen]
                numbers = list({entries[n].weight: n for n in reversed(numbers)}.values())[::-1]
            seen.update(entries[number].weight for number in numbers)
            if numbers:
                yield step, numbers

    def _place(self, entry: Weighted) -> int:
        """The step that runs the node of ``entry``, alone or together with others."""
        name = str(entry.node.name)
        if name in self._step:
            return self._step[name]
        readers = (n for n, step in enumerate(self._float.steps) if entry.weight in step.inputs)
        return next(readers)

    def _fill(self, store: ActivationStore) -> None:
        for chunk, batch in enumerate(self._samples.batches(self._chunk)):
            inputs = on_device(batch, self._device)
            store.put(("float", chunk), dict(inputs))
            store.put(("coded", chunk), inputs)

    def _chunks(self) -> Iterator[int]:
        return iter(range(-(-len(self._samples) // self._chunk)))

    def _layer(
        self, store: ActivationStore, layer: Layer, number: int, at_float: int, at_coded: int
    ) -> None:
        """Advance to the layer, take its moments unless a checkpoint has its result."""
        found = self._checkpoints.load_weight(f"layer-{number}")
        step = self._step[layer.name]
        damping = damping_of(layer, len(self._samples))
        if self._fit(layer) == "responses":
            damping = PAPER_DAMPING
        folded = self._fit(layer) == "corrected"
        moments = None if found else Moments(layer, self._device, damping, folded)
        for chunk in self._chunks():
            ours, coded = store.take(("float", chunk)), store.take(("coded", chunk))
            inputs = [v for v in (layer.input, layer.output) if v]
            self._float.run(ours, at_float, step + 1, keep=inputs)
            self.compressed.run(coded, at_coded, step, keep=inputs)
            if moments is not None:
                rows, targets, owners = self._rows(layer, ours, coded, (number, chunk))
                moments.add(rows, targets, self._folds_of(chunk, owners) if folded else None)
            self._trim(ours, step + 1)
            store.put(("float", chunk), ours)
            store.put(("coded", chunk), coded)
        if found:
            self._apply(layer, found[0], torch.from_numpy(found[1]["bias"]), found[1]["loss"])
        elif moments is not None:
            self._encode(layer, number, moments)

    def _unpacked(
        self,
        store: ActivationStore,
        entries: Mapping[int, Unpacked],
        step: int,
        at_float: int,
        at_coded: int,
    ) -> None:
        """Advance to the node of ``entries``, by their numbers, and code its weights."""
        found = {n: self._checkpoints.load_weight(f"layer-{n}") for n in entries}
        evidence = {
            number: self._evidence(entry, number)
            for number, entry in entries.items()
            if found[number] is None
        }
        names = [name for entry in entries.values() for name in values_read(entry)]
        for chunk in self._chunks():
            ours, coded = store.take(("float", chunk)), store.take(("coded", chunk))
            self._float.run(ours, at_float, step + 1, keep=names)
            self.compressed.run(coded, at_coded, step, keep=names)
            for sums in evidence.values():
                sums.add(ours, coded)
            self._trim(ours, step + 1)
            store.put(("float", chunk), ours)
            store.put(("coded", chunk), coded)
        for number, entry in entries.items():
            held = found[number]
            if held is not None:
                self._apply_unpacked(entry, held[0], held[1]["loss"])
                continue
            options, seed = self._plan[entry.weight], self._seed * 1009 + number
            corrected = self._fit(entry) == "corrected"
            weight, loss = evidence[number].encode(options, seed, corrected)
            self._checkpoints.save_weight(f"layer-{number}", weight, {"loss": np.array(loss)})
            self._apply_unpacked(entry, weight, loss)

    def _evidence(self, entry: Unpacked, number: int) -> Evidence:
        weight = canonical(entry, self._float.constant(entry.weight).detach())
        samples = len(self._samples)
        wanted = positions_per_sample(entry.shape.inputs, samples)
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        return Evidence(entry, weight, damping_of(entry, samples), wanted * self._chunk, seed)

    def _apply_unpacked(self, entry: Unpacked, coded: CodedWeight, loss: object) -> None:
        apply_coded(self.compressed, entry, coded)
        self._done.weights[entry.weight] = coded
        self._done.losses[entry.weight] = float(np.asarray(loss))

    def _trim(self, environment: Environment, step: int) -> None:
        for name in set(environment) - self._float.live(step):
            del environment[name]

    def _rows(
        self, layer: Layer, ours: Environment, coded: Environment, place: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        return self._sampler.rows(
            layer,
            ours,
            coded,
            place,
            corrected=self._fit(layer) == "corrected",
            binarization=self._plan[layer.weight].binarization,
        )

    def _folds_of(self, chunk: int, owners: Tensor | None) -> Tensor | None:
        """The fold of each row of a chunk, by the samples ``owners``; None where these are not
        known."""
        if owners is None:
            return None
        return self._folds[chunk * self._chunk :].to(owners.device)[owners]

    def _encode(self, layer: Layer, number: int, moments: Moments) -> None:
        weight = canonical(layer, self._float.constant(layer.weight))
        bias = self._float.bias(layer.name, layer.shape.outputs).detach()
        options, fit = self._plan[layer.weight], self._fit(layer)
        if layer.weight in self._done.weights:
            coded, loss = self._done.weights[layer.weight], self._done.losses[layer.weight]
        else:
            coded, loss = encode_weight(
                layer,
                self._target(moments, weight, bias, fit),
                options,
                seed=self._seed * 1009 + number,
                balanced=layer.weight in self._outputs and fit == "corrected",
            )
        decoded = torch.from_numpy(decode_weight(coded)).to(self._device)
        if fit == "corrected":
            bias = moments.bias(weight, decoded, bias)
        extra = {"bias": bias.cpu().numpy(), "loss": np.array(loss)}
        self._checkpoints.save_weight(f"layer-{number}", coded, extra)
        self._apply(layer, coded, bias, loss)

    def _target(self, moments: Moments, weight: Tensor, bias: Tensor, fit: Fit) -> Target:
        if fit == "responses":
            return moments.target(weight, bias)
        target = moments.target(weight)
        return Target(weight, target.moments) if fit == "weights" else target

    def _fit(self, layer: Weighted) -> Fit:
        return self._plan[layer.weight].fit(self._published)

    def _apply(self, layer: Layer, coded: CodedWeight, bias: Tensor, loss: object) -> None:
        apply_coded(self.compressed, layer, coded, bias)
        self._done.weights[layer.weight] = coded
        self._done.biases[layer.name] = bias.cpu()
        self._done.losses[layer.weight] = float(np.asarray(loss))


def _modules(network: Network, device: torch.device) -> tuple[GraphModule, GraphModule]:
    """The network twice, with one set of weights for as long as both have the same."""
    module = GraphModule(network).to(device).eval()
    return module, GraphModule(network, share=module).to(device).eval()
