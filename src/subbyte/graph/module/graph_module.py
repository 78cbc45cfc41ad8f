"""A network as an ordinary differentiable ``nn.Module``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import onnx_ir as ir
import torch
from torch import Tensor, nn

from subbyte.errors import OptionError
from subbyte.graph.module.node_view import to_torch
from subbyte.graph.module.opaque import is_opaque, units
from subbyte.graph.module.steps import Lifetimes, Step, make_step, place_lengths, statistics
from subbyte.graph.network import Layer, Network
from subbyte.graph.ops.binary import binary_conv, binary_linear
from subbyte.methods import Binarization


class Visit(NamedTuple):
    """One step of a walk.

    ``before``: the values that the step and later steps read. ``after``: the values that later
    steps read, and all results of the step.
    """

    place: int
    step: Step
    before: dict[str, Tensor]
    after: Mapping[str, Tensor]


class GraphModule(nn.Module):
    """Runs the nodes of a `Network` with torch; batch and device are free.

    ``fixed_batch``: as in `Network`.

    Floating-point constants with more than one entry, and all weights and biases of layers, are
    parameters; other constants, and the statistics of BatchNorm, are buffers. Both are registered
    in ``values`` under their ONNX names; ``_`` stands for each character that Python does not allow
    in a name.

    Nodes that torch has no kernel for are run by ONNX Runtime, on the CPU, and without a gradient
    (`subbyte.graph.module.foreign`). Outputs that are no tensors are left out.

    ``share``: another module of the same network. Constants are in memory once for both, until one
    of them is given another value by `set_constant`, which the other does not see.
    """

    def __init__(self, network: Network, share: GraphModule | None = None) -> None:
        super().__init__()
        graph = network.model.graph
        self.fixed_batch = network.fixed_batch
        self.input_names = tuple(str(value.name) for value in graph.inputs)
        outputs = [value for value in graph.outputs if not is_opaque(value)]
        self.output_names = tuple(str(value.name) for value in outputs)
        self.values = nn.Module()
        self.sources = nn.ModuleDict()
        self._keys: dict[str, str] = {}
        self._cpu: dict[str, Tensor] = {}
        self._layer_constants = {
            name for layer in network.layers for name in (layer.weight, layer.bias) if name
        }
        self.steps = [make_step(unit, network.model.opset_imports) for unit in units(graph)]
        read = {name for step in self.steps for name in step.arguments} | {*self.output_names}
        self._register(graph, _tensors(graph, read) if share is None else share._tensors())
        self._lifetimes = Lifetimes(self.input_names, self.output_names, self.steps)
        for layer in network.layers:
            if layer.binarization is not None:
                self.binarize(layer, layer.binarization)

    # Constants

    def constant(self, name: str) -> Tensor:
        """The current value of initializer ``name``."""
        key = self._keys[name]
        if key in self.sources:
            value: Tensor = self.sources[key]()
            return value
        parameter = self.values._parameters.get(key)
        if parameter is not None:
            return parameter
        buffer = self.values._buffers[key]
        if buffer is None:
            raise KeyError(name)
        return buffer

    def replace(self, name: str, source: nn.Module) -> None:
        """From now on initializer ``name`` has the value ``source()``, trained through it."""
        key = self._keys[name]
        if key in self.values._parameters:
            del self.values._parameters[key]
        self.values._buffers.pop(key, None)
        self.sources[key] = source

    def set_constant(self, name: str, tensor: Tensor) -> None:
        """Give initializer ``name`` other data; a replaced one is a parameter again."""
        key = self._keys[name]
        if key in self.sources:
            del self.sources[key]
            self.values.register_parameter(key, nn.Parameter(tensor.detach().clone()))
            return
        stored = self.constant(name)
        if stored.shape != tensor.shape:
            raise OptionError(
                "constant of another shape",
                where=name,
                expected=tuple(stored.shape),
                got=tuple(tensor.shape),
            )
        # Not written over: another module may hold the same memory.
        stored.data = stored.detach().new_empty(stored.shape).copy_(tensor.detach())

    def forget(self, name: str) -> None:
        """Free the memory of initializer ``name``, which no step will read again."""
        stored = self.constant(name)
        stored.data = stored.detach().new_empty(0)

    def bias(self, node: str, outputs: int) -> Tensor:
        """The current bias [O] of the layer ``node``; zeros where it has none."""
        names = next(step for step in self.steps if step.name == node).inputs[2:]
        if not names or names[0] is None:
            return torch.zeros(outputs, device=next(self.parameters()).device)
        return self.constant(names[0])

    def set_bias(self, node: str, tensor: Tensor) -> None:
        """Set the bias [O] of the layer ``node``, which may have had none, or a shared one."""
        place = next(place for place, step in enumerate(self.steps) if step.name == node)
        step = self.steps[place]
        name = step.inputs[2] if len(step.inputs) > 2 else None
        if name is not None and sum(name in other.inputs for other in self.steps) == 1:
            self.set_constant(name, tensor)
            return
        fresh = f"{node}.bias"
        while fresh in self._keys:
            fresh += "_"
        self._add(fresh, tensor.detach().clone(), trained=True)
        self.steps[place] = replace(
            step,
            inputs=(*step.inputs[:2], fresh),
            arguments=(*step.arguments[:2], fresh),
        )

    def binarize(self, layer: Layer, binarization: Binarization) -> None:
        """From now on ``layer``, a 2-D convolution or linear layer, binarizes its input.

        The input is still multiplied with the layer's weight.
        """
        place = next(place for place, step in enumerate(self.steps) if step.name == layer.name)
        step = self.steps[place]
        if layer.op == "Linear":
            kernel = binary_linear(binarization)
        else:
            window = (layer.strides, layer.pads, layer.dilations)
            kernel = binary_conv(binarization, *window, layer.shape.groups)
        self.steps[place] = replace(step, kernel=kernel, plain=step.plain or step.kernel)

    # Running

    def forward(self, *inputs: Tensor) -> Any:
        """The graph's output, or a tuple of them."""
        if len(inputs) != len(self.input_names):
            raise OptionError(
                "wrong number of inputs", expected=self.input_names, got=f"{len(inputs)} tensors"
            )
        env = dict(zip(self.input_names, inputs, strict=True))
        self.run(env, 0, len(self.steps))
        outputs = tuple(
            env[name] if name in env else self.constant(name) for name in self.output_names
        )
        return outputs[0] if len(outputs) == 1 else outputs

    def run(
        self, env: dict[str, Tensor], first: int, last: int, keep: Collection[str] = ()
    ) -> None:
        """Execute ``steps[first:last]`` in place on ``env`` (value name -> tensor).

        Drops every value that no later step reads, is no graph output and is not in ``keep``.
        """
        for place in range(first, last):
            step = self.steps[place]
            arguments = [
                None if name is None else env[name] if name in env else self._fetch(name, step)
                for name in step.arguments
            ]
            if step.moved:
                step.follow(arguments)
            result = step.call(arguments)
            if isinstance(result, (tuple, list)):
                env.update((n, v) for n, v in zip(step.outputs, result, strict=False) if n)
            else:
                env[step.outputs[0]] = result
            for name in self._lifetimes.dropped[place]:
                if name not in keep:
                    env.pop(name, None)
        for name in list(env):
            if name not in keep and self._lifetimes.last_read.get(name, -1) < last:
                del env[name]

    def walk(self, inputs: Mapping[str, Tensor]) -> Iterator[Visit]:
        """Run the graph on ``inputs``, by name, and show every step beside its values."""
        values = dict(inputs)
        for place, step in enumerate(self.steps):
            before = dict(values)
            self.run(values, place, place + 1, keep=step.outputs)
            yield Visit(place, step, before, values)

    def computed(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """(name, value) of the ``wanted`` values, all by default: graph inputs, then each as it
        is made."""
        for name, value in inputs.items():
            if wanted is None or name in wanted:
                yield name, value
        for visit in self.walk(inputs):
            for name in visit.step.outputs:
                if name in visit.after and (wanted is None or name in wanted):
                    yield name, visit.after[name]

    def plain_output(self, place: int, value: Tensor) -> Tensor:
        """The output of the layer ``steps[place]`` on the input ``value``, not binarizing it."""
        step = self.steps[place]
        rest = [None if name is None else self._fetch(name, step) for name in step.arguments[1:]]
        output: Tensor = (step.plain or step.kernel)(value, *rest)
        return output

    def live(self, at: int) -> set[str]:
        """Values made before step ``at`` (or graph inputs) that steps from ``at`` on read.

        Graph outputs count as read at the end.
        """
        return {
            name
            for name, made in self._lifetimes.made.items()
            if made < at <= self._lifetimes.last_read.get(name, -1)
        }

    def _fetch(self, name: str, step: Step) -> Tensor:
        return self._cpu[name] if step.on_cpu else self.constant(name)

    # Building

    def _tensors(self) -> dict[str, Tensor]:
        """Every constant that a kernel reads, by name; not copied."""
        return {name: self.constant(name).detach() for name in self._keys} | self._cpu

    def _register(self, graph: ir.Graph, tensors: dict[str, Tensor]) -> None:
        """Decide which steps run on the CPU, then register every constant that a kernel reads."""
        names = {str(value.name) for value in graph.initializers.values()}
        trained = {name for name, tensor in tensors.items() if self._is_trained(name, tensor)}
        trained -= statistics(self.steps) - self._layer_constants
        self.steps = place_lengths(self.steps, names, trained)
        used = {name for step in self.steps if not step.on_cpu for name in step.arguments if name}
        on_cpu = {name for step in self.steps if step.on_cpu for name in step.arguments if name}
        for name, tensor in tensors.items():
            if name in on_cpu:
                self._cpu[name] = tensor
            if name in used or name in self.output_names:
                self._add(name, tensor, name in trained)

    def _is_trained(self, name: str, tensor: Tensor) -> bool:
        weight = name in self._layer_constants or tensor.numel() > 1
        return tensor.is_floating_point() and weight

    def _add(self, name: str, tensor: Tensor, trained: bool) -> None:
        key = re.sub(r"\W", "_", name) or "_"
        while hasattr(self.values, key) or hasattr(self.sources, key):
            key += "_"
        self._keys[name] = key
        if trained:
            self.values.register_parameter(key, nn.Parameter(tensor))
        else:
            self.values.register_buffer(key, tensor)


def _tensors(graph: ir.Graph, names: Collection[str | None]) -> dict[str, Tensor]:
    """Every constant of ``graph`` among ``names``, copied."""
    return {
        str(value.name): to_torch(value.const_value, str(value.name))
        for value in graph.initializers.values()
        if value.const_value is not None and value.name in names
    }
