"""Which values are carried as uint8, and the form that each node then has.

An island is a run of nodes that exchange uint8 tensors: coded convolutions and linear layers, and
between them sums, pooling, concatenation and data movement. A node that is no layer belongs to one
only if an island feeds it and an island reads it; everything else stays float, with quantization at
the border. Nothing here looks at samples: the plan says which ranges a calibrator has to find, and
how values share them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from subbyte.graph import query
from subbyte.graph.islands.intervals import Interval
from subbyte.graph.islands.known_ranges import forward_ranges, needed_ranges
from subbyte.graph.islands.operators import is_arithmetic, is_candidate, is_pointwise
from subbyte.graph.islands.shared_scales import Group, group_values
from subbyte.graph.islands.unary import UnaryFunction, find_functions
from subbyte.graph.nested import leads_to
from subbyte.graph.network import Layer, Network

LayerForm = Literal["uint8", "dequant", "float"]


@dataclass(frozen=True)
class LayerPlan:
    """``uint8``: uint8 in and out; ``dequant``: uint8 in, float out; ``float``: neither,
    and ``reason`` says why."""

    form: LayerForm
    reason: str | None = None


@dataclass(frozen=True)
class IslandPlan:
    """The values that are carried as uint8.

    ``layers``: how each coded layer computes, by layer name. ``nodes``: the other nodes that
    compute on uint8, by their first output. ``groups``: every quantized value, in groups that share
    one `QuantParams`; a group is named for one of its values. ``fused``: sums and functions that
    are taken into the layer before them, the output of the sum or function -> layer name.
    ``absorbed``: clamps that the quantization of their input has already done, output -> input.
    ``functions``: nodes that together compute a function of one carried value, by its output;
    ``within``: outputs that stay inside such functions.
    """

    layers: Mapping[str, LayerPlan]
    nodes: frozenset[str] = frozenset()
    groups: tuple[Group, ...] = ()
    fused: Mapping[str, str] = field(default_factory=dict)
    absorbed: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, UnaryFunction] = field(default_factory=dict)
    within: frozenset[str] = frozenset()

    @property
    def group_of(self) -> dict[str, str]:
        """Group name of every quantized value."""
        return {value.name: group.name for group in self.groups for value in group.values}


def float_plan(network: Network, reason: str) -> IslandPlan:
    """The plan in which every layer keeps float activations."""
    return IslandPlan({layer.name: LayerPlan("float", reason) for layer in network.layers})


def plan_islands(
    network: Network,
    coded: Collection[str] | None = None,
    keep_float: Mapping[str, str] | None = None,
) -> IslandPlan:
    """Decide which values are carried as uint8.

    ``coded``: the weight initializers that will be coded (default: all). ``keep_float``: values or
    groups that eight bits cannot carry, each with the reason; a group is kept float as a whole, as
    its values share one scale.
    """
    weights = {layer.weight for layer in network.layers} if coded is None else set(coded)
    layers = [layer for layer in network.layers if layer.weight in weights]
    plan = _Planner(network, layers, {}).plan()
    if not keep_float:
        return plan
    blocked = dict(keep_float)
    for group in plan.groups:
        reasons = [keep_float[v.name] for v in group.values if v.name in keep_float]
        if reasons:
            blocked |= {value.name: reasons[0] for value in group.values}
    return _Planner(network, layers, blocked).plan()


def is_pixelwise(layer: Layer) -> bool:
    """Whether a convolution is a linear layer on every pixel."""
    return (
        layer.op == "Conv"
        and layer.kernel_shape == layer.strides == (1, 1)
        and layer.shape.groups == 1
        and not any(layer.pads)
        and query.attribute(layer.node, "auto_pad", "NOTSET") == "NOTSET"
    )


class _Planner:
    """One run of the plan: layers first, then the greatest set of nodes that may join."""

    def __init__(self, network: Network, layers: list[Layer], blocked: Mapping[str, str]) -> None:
        self.graph = network.model.graph
        self.nodes = list(self.graph)
        self.blocked = blocked
        self.layers = {layer.output: layer for layer in layers}
        self.plans = {layer.name: self._layer_plan(layer) for layer in layers}
        self.joined = {
            node.outputs[0].name or ""
            for node in self.nodes
            if is_candidate(node) and not self._touches_blocked(node)
        }

    def plan(self) -> IslandPlan:
        while self._demote():
            pass
        carried = self._carried()
        forward, needed = forward_ranges(self.nodes), needed_ranges(self.graph)
        limits = {
            name: forward.get(name, Interval()).meet(needed.get(name, Interval()))
            for name in carried
        }
        functions, within = self._functions()
        others = self.joined - functions.keys() - within
        groups = group_values([n for n in self.nodes if self._output(n) in others], limits)
        absorbed = self._absorbed(groups)
        return IslandPlan(
            layers=self.plans,
            nodes=frozenset(self.joined),
            groups=groups,
            fused=self._summed() | self._followed(functions, absorbed),
            absorbed=absorbed,
            functions=functions,
            within=within,
        )

    def _layer_plan(self, layer: Layer) -> LayerPlan:
        if layer.op == "ConvTranspose":
            return LayerPlan("float", "transposed convolution")
        if layer.op == "Conv" and len(layer.kernel_shape) != 2:
            return LayerPlan("float", f"{len(layer.kernel_shape)}-D convolution")
        if layer.op == "Linear" and query.attribute(layer.node, "axis", -1) != -1:
            return LayerPlan("float", "weight on the left of the product")
        if layer.input in self.blocked:
            return LayerPlan("float", f"input: {self.blocked[layer.input]}")
        if layer.op == "Conv" and layer.output in self.blocked and not is_pixelwise(layer):
            return LayerPlan("float", f"output: {self.blocked[layer.output]}")
        blocked = layer.output in self.blocked
        return LayerPlan("dequant" if blocked else "uint8")

    def _touches_blocked(self, node: ir.Node) -> bool:
        values = [*query.data_inputs(node), *node.outputs]
        return any(value.name in self.blocked for value in values)

    @staticmethod
    def _output(node: ir.Node) -> str:
        return node.outputs[0].name or ""

    def _layer_form(self, name: str | None) -> LayerForm | None:
        layer = self.layers.get(name or "")
        return None if layer is None else self.plans[layer.name].form

    def _produces(self, value: ir.Value) -> bool:
        """Whether ``value`` leaves its producer as uint8."""
        producer = value.producer()
        if producer is None:
            return False
        name = self._output(producer)
        return name in self.joined or self._layer_form(name) == "uint8"

    def _reads(self, node: ir.Node, value: ir.Value) -> bool:
        """Whether ``node`` takes ``value`` as uint8."""
        name = self._output(node)
        if name in self.joined:
            return True
        return self._layer_form(name) in ("uint8", "dequant") and node.inputs[0] is value

    def _demote(self) -> bool:
        """Take nodes that no longer belong to an island out of it; whether there were any."""
        out = {self._output(node) for node in self.nodes if self._is_stray(node)}
        self.joined -= out
        functions, within = self._functions()
        tables = functions.keys() | within
        floats = [layer for layer in self.layers.values() if self._ends(layer, tables)]
        for layer in floats:
            self.plans[layer.name] = LayerPlan("dequant")
        return bool(out or floats)

    def _is_stray(self, node: ir.Node) -> bool:
        if self._output(node) not in self.joined:
            return False
        reads = [self._reads(use, out) for out in node.outputs for use, _ in out.uses()]
        if not any(reads) or (is_pointwise(node) and not all(reads)):
            return True
        inputs = query.data_inputs(node)
        if any(self._produces(value) for value in inputs):
            return False
        return len(inputs) > 1 or not self._read_by_layer(inputs[0])

    def _read_by_layer(self, value: ir.Value) -> bool:
        return any(
            self._layer_form(self._output(use)) in ("uint8", "dequant") and index == 0
            for use, index in value.uses()
        )

    def _ends(self, layer: Layer, tables: Collection[str]) -> bool:
        """Whether a uint8 layer should rather give floats: scores are not requantized.

        True of a linear layer that anything computes with as floats, and of a 1x1 convolution after
        which nothing is quantized any more. ``tables``: outputs of nodes of functions of one value,
        which compute with codes.
        """
        output = layer.node.outputs[0]
        if self.plans[layer.name].form != "uint8":
            return False
        if is_pixelwise(layer):
            return not self._leads_to_island(output)
        if layer.op != "Linear":
            return False
        if output.is_graph_output():
            return True
        return not all(
            self._reads(node, output) and (not is_arithmetic(node) or self._output(node) in tables)
            for node in output.consumers()
        )

    def _leads_to_island(self, value: ir.Value) -> bool:
        """Whether anything computed from ``value`` is read as uint8."""
        return leads_to([value], self._reads, self.graph)

    def _carried(self) -> list[str]:
        """Values that exist as uint8, in the order of the graph.

        Between two pointwise nodes, or a sum or product and such a node, a value stays float:
        nothing is gained by rounding it.
        """
        names: dict[str, None] = {}
        for node in self.nodes:
            for value in query.data_inputs(node):
                if self._reads(node, value):
                    names[value.name or ""] = None
            for value in node.outputs:
                if self._produces(value):
                    names[value.name or ""] = None
        inner = self._inner() | self._functions()[1]
        return [name for name in names if name not in inner]

    def _functions(self) -> tuple[dict[str, UnaryFunction], frozenset[str]]:
        outside = self.joined - self._summed().keys()
        inside = [node for node in self.nodes if self._output(node) in outside]
        return find_functions(inside, self._inner())

    def _inner(self) -> set[str]:
        inside = [node for node in self.nodes if self._output(node) in self.joined]
        pointwise = {self._output(node) for node in inside if is_pointwise(node)}
        summed = self._summed()
        return {
            value.name or ""
            for node in inside
            if self._output(node) not in summed and is_arithmetic(node)
            for value in node.outputs
            if not value.is_graph_output()
            and all(self._output(use) in pointwise for use in value.consumers())
        }

    def _summed(self) -> dict[str, str]:
        """For each sum in an island, the last convolution whose only reader it is."""
        summed = {}
        order = {self._output(node): index for index, node in enumerate(self.nodes)}
        for node in self.nodes:
            if not query.is_standard(node, "Add") or self._output(node) not in self.joined:
                continue
            a, b = node.inputs
            ends = [v.name or "" for v in (a, b) if v is not None and self._only_summed(v)]
            if query.same_shape(a, b) and ends:
                last = max(ends, key=order.__getitem__)
                summed[self._output(node)] = self.layers[last].name
        return summed

    def _followed(
        self, functions: Mapping[str, UnaryFunction], absorbed: Mapping[str, str]
    ) -> dict[str, str]:
        """For each function of the output of a layer that nothing else reads, this layer."""
        followed = {}
        for name, function in functions.items():
            value, readers = function.argument, set(function.nodes)
            while value.name in absorbed and self._read_only_by(value, readers):
                clamp = value.producer()
                before = None if clamp is None else clamp.inputs[0]
                assert clamp is not None  # noqa: S101 - the node of an absorbed value
                assert before is not None  # noqa: S101 - its argument
                value, readers = before, {clamp}
            if self._layer_form(value.name) == "uint8" and self._read_only_by(value, readers):
                followed[name] = self.layers[value.name or ""].name
        return followed

    @staticmethod
    def _read_only_by(value: ir.Value, readers: Collection[ir.Node]) -> bool:
        return not value.is_graph_output() and all(node in readers for node in value.consumers())

    def _only_summed(self, value: ir.Value) -> bool:
        layer = self.layers.get(value.name or "")
        return (
            layer is not None
            and layer.op == "Conv"
            and self.plans[layer.name].form == "uint8"
            and len(value.uses()) == 1
            and not value.is_graph_output()
        )

    def _absorbed(self, groups: tuple[Group, ...]) -> dict[str, str]:
        limits = {value.name: group for group in groups for value in group.values}
        absorbed = {}
        for node in self.nodes:
            bounds = query.clip_bounds(node)
            value = node.inputs[0] if node.inputs else None
            if bounds is None or value is None or not self._produces(value):
                continue
            group = limits.get(value.name or "")
            if group is not None and group.limit.within(Interval(*bounds)):
                absorbed[self._output(node)] = value.name or ""
        return absorbed
