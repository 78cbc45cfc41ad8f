"""Random small networks, node by node, each node tried in ONNX Runtime as it comes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import tests.random_graphs.arithmetic
import tests.random_graphs.foreign
import tests.random_graphs.layers
import tests.random_graphs.movement  # noqa: F401
from subbyte.graph.ops import OPERATORS
from tests.random_graphs.judge import Feeds, header, run, try_draft, typed, useful
from tests.random_graphs.names import Names
from tests.random_graphs.pool import Array, Constant, Draft, Hopeless, Pool, Value
from tests.random_graphs.recipes import RECIPES

OPSETS = (*range(11, 27), 18, 17, 17, 13, 11, 23)
LAYERS = ("Conv", "Conv", "ConvTranspose", "Gemm", "MatMul", "MatMul", "Einsum")
SHAPES = ((4, 6), (3, 6, 6), (4, 8), (8,), (12,), (5, 8), (2, 4, 4), (2, 3, 4, 4), (16, 3))
COVERED = sorted(name for name in RECIPES if ("", name) in OPERATORS)
FOREIGN = sorted(set(RECIPES) - set(COVERED))
"""Operators without a row of the table, which ONNX Runtime runs."""
BATCHES = (1, 2, 5)
ATTEMPTS = 120
COUNT = 12


@dataclass(frozen=True)
class Drawn:
    """A random network that ONNX Runtime runs, and samples for it.

    ``feeds`` hold `COUNT` samples of each input, the first axis is the batch; ``batches`` are the
    batch sizes that the network runs at.
    """

    model: onnx.ModelProto
    feeds: dict[str, Array]
    batches: tuple[int, ...]


@dataclass
class _Graph:
    pool: Pool
    names: Names
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    held: list[onnx.TensorProto] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    layered: set[str] = field(default_factory=set)
    """Values that hang on a weight of a layer."""

    def constant(self, constant: Constant) -> Value:
        """The constant as an initializer or a node."""
        value = Value(self.names.value("c"), constant.array)
        tensor = numpy_helper.from_array(constant.array, value.name)
        if self.pool.chance(0.25):
            node = helper.make_node("Constant", [], [value.name], self.names.node("constant"))
            node.attribute.append(helper.make_attribute("value", tensor))
            self.nodes.append(node)
        else:
            self.held.append(tensor)
        if constant.weight:
            self.pool.weights.append(value)
            self.layered.add(value.name)
        return value

    def add(self, draft: Draft, arrays: Sequence[Array]) -> None:
        """The node of a draft that ONNX Runtime has run."""
        names = []
        for operand in draft.inputs:
            value = self.constant(operand) if isinstance(operand, Constant) else operand
            names.append("" if value is None else value.name)
        names_read = {*names, *(value.name for value in draft.captured)}
        self.read |= names_read
        made = [Value(self.names.value(draft.op_type.lower()), array) for array in arrays]
        node = helper.make_node(
            draft.op_type,
            names,
            [value.name for value in made],
            self.names.node(draft.op_type),
            domain=draft.domain,
            **draft.attributes,
        )
        self.nodes.append(node)
        self.pool.values += made
        if not self.layered.isdisjoint(names_read):
            self.layered.update(value.name for value in made)


def draw(rng: random.Random) -> Drawn | None:
    """A random network; None where nothing came about that ONNX Runtime runs."""
    pool = Pool(rng, rng.choice(OPSETS))
    graph = _Graph(pool, Names(rng, odd=rng.random() < 0.5))
    batch = rng.choice((1, 3))
    inputs = [_input(graph, batch, first) for first in (True, False)[: rng.choice((1, 1, 1, 2))]]
    wanted = rng.randint(2, 10)
    layered = rng.random() < 0.95
    for _ in range(ATTEMPTS):
        if sum(node.op_type != "Constant" for node in graph.nodes) >= wanted:
            break
        _attempt(graph)
    if not any(value.name in graph.read for value in inputs):
        return None
    return _finish(graph, inputs, batch, layered)


def _input(graph: _Graph, batch: int, first: bool) -> Value:
    pool = graph.pool
    shape = pool.choice(SHAPES)
    kind = pool.rng.random()
    if kind < 0.15 and first:
        array = pool.integers(0, 40, [batch, *shape[:1]], pool.choice([np.int64, np.int32])).array
    else:
        dtype = np.float16 if kind > 0.96 else np.float64 if kind > 0.92 else np.float32
        array = pool.normal([batch, *shape], dtype).array
    value = Value(graph.names.value("input"), array)
    pool.values.append(value)
    return value


def _attempt(graph: _Graph) -> None:
    layered = any(node.op_type in LAYERS for node in graph.nodes)
    wants_layer = graph.pool.chance(0.2 if layered else 0.5)
    others = FOREIGN if graph.pool.chance(0.06) else COVERED
    op_type = graph.pool.choice(LAYERS if wants_layer else others)
    try:
        draft = RECIPES[op_type](graph.pool, op_type)
    except Hopeless:
        return
    arrays = try_draft(draft, graph.pool.opset)
    if arrays is not None:
        graph.add(draft, arrays)


def _finish(graph: _Graph, inputs: Sequence[Value], batch: int, layered: bool) -> Drawn | None:
    """The whole model with a free batch where it runs at several sizes, else with one of 1."""
    rng = graph.pool.rng
    made = {name for node in graph.nodes if node.input for name in node.output}
    leaves = [v for v in graph.pool.values if v.name in made and v.name not in graph.read]
    between = [v for v in graph.pool.values if v.name in made and v.name in graph.read]
    coded = [value for value in leaves if value.name in graph.layered]
    if not (coded if layered else leaves):
        return None
    outputs = [rng.choice(coded or leaves)]
    others = [value for value in leaves if value is not outputs[0]]
    outputs += rng.sample(others, min(len(others), rng.choice((0, 0, 1, 2))))
    outputs += rng.sample(between, 1) if between and rng.random() < 0.1 else []
    nodes = graph.nodes
    if rng.random() < 0.1:
        nodes = rng.sample(nodes, len(nodes))
    feeds = {value.name: _samples(rng, value.array) for value in inputs}
    for fixed in (False, True) if batch > 1 else (rng.random() < 0.3, True):
        size: int | str = 1 if fixed else "N"
        border = [typed(v.name, v.array.dtype, [size, *v.array.shape[1:]]) for v in inputs]
        model = _model(graph, nodes, border, outputs)
        batches = (1,) if fixed else BATCHES
        if all(_runs(model, feeds, size) for size in batches):
            return Drawn(model, feeds, batches)
    return None


def _model(graph: _Graph, nodes: Any, border: Any, outputs: Sequence[Value]) -> onnx.ModelProto:
    domains = sorted({node.domain for node in nodes if node.domain})
    given = [typed(v.name, v.array.dtype, [None] * v.array.ndim) for v in outputs]
    made = helper.make_graph(nodes, graph.names.node("random"), border, given, graph.held)
    return helper.make_model(made, **header(graph.pool.opset, domains))


def _samples(rng: random.Random, array: Array) -> Array:
    generator = np.random.default_rng(rng.getrandbits(32))
    shape = (COUNT, *array.shape[1:])
    if array.dtype.kind == "f":
        return generator.standard_normal(shape).astype(array.dtype)
    return generator.integers(0, int(array.max()) + 1, shape).astype(array.dtype)


def _runs(model: onnx.ModelProto, feeds: Feeds, size: int) -> bool:
    """Whether samples of every place run in batches of ``size`` and give useful numbers."""
    for start in range(0, COUNT - size + 1, size):
        part = {name: array[start : start + size] for name, array in feeds.items()}
        found = run(model, part, optimized=True)
        if found is None or not all(map(useful, found)):
            return False
    return True
