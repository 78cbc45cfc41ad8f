"""A batch that an exporter baked into the graph is made dynamic, where that can be verified.

If every input has the same static size B on its first axis, the graph is run on B and on 2 B random
samples. ``Reshape`` to a constant shape is given a free entry where the batch goes:

1. to an entry B that begins where the batch begins in the input;
2. else into the entry that begins there, unless it is the last one (features);
3. else into the entry that ends there (positions x batch flattened to rows).

``Flatten`` of one sample to one row keeps the batch as rows. ``Resize`` to constant sizes takes the
first one from its input. A constant that ``Concat`` joins with batched values on another axis (a
class token) is expanded to their batch. So are constant initial states of LSTM, GRU and RNN. The
result counts only if the outputs for 2 B samples are the outputs of both halves; else the graph is
left as it was, and runs with batches of B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from subbyte.data.specs import InputSpec, find_axes
from subbyte.graph import query
from subbyte.graph.module.kernels import NodeKernel, unit_kernel
from subbyte.graph.module.node_form import to_torch
from subbyte.graph.module.opaque import Unit, is_opaque, units
from subbyte.graph.nested import all_nodes, captured, nested_graphs
from subbyte.graph.ops.logic import TORCH_DTYPES
from subbyte.graph.passes.editor import Editor
from subbyte.progress import Progress, silent

BATCH = "N"
Axes = Mapping[str, int | None]
TOLERANCE = 1e-3
"""Largest difference, relative to the largest output, that rounding may make."""


def input_axes(model: ir.Model, chosen: Mapping[str, int | None] | None = None) -> Axes:
    """The batch axis of each graph input, ``chosen`` or else as its shape tells."""
    specs = find_axes(
        [
            InputSpec(str(value.name), query.dims(value) or (), np.dtype(np.float32))
            for value in model.graph.inputs
        ]
    )
    return {spec.name: spec.axis for spec in specs} | dict(chosen or {})


def baked_batch(model: ir.Model, axes: Axes) -> int | None:
    """The static size of the batch that all graph inputs share, if there is one."""
    found = set()
    for value in model.graph.inputs:
        sizes, axis = query.static_sizes(value), axes[str(value.name)]
        if sizes is None or None in sizes or value.dtype not in TORCH_DTYPES:
            return None
        if axis is not None:
            found.add(sizes[axis])
    return found.pop() if len(found) == 1 else None


def free_batch(model: ir.Model, axes: Axes, progress: Progress = silent) -> bool:
    """Make the baked batch dynamic, in place; return whether that worked.

    Inputs and outputs get the symbolic size ``N``; the shapes of all other values are
    forgotten.
    """
    batch = baked_batch(model, axes)
    if batch is None:
        return False
    trial = _Trial(model, batch, axes)
    if not trial.run(progress):
        trial.undo()
        return False
    _forget_shapes(model.graph)
    for value in (*model.graph.inputs, *model.graph.outputs):
        axis = trial.outputs[value] if value in trial.outputs else axes[str(value.name)]
        if value.shape is not None and axis is not None and value.shape[axis] == batch:
            sizes = list(value.shape)
            value.shape = ir.Shape([*sizes[:axis], BATCH, *sizes[axis + 1 :]])
    return True


def _forget_shapes(graph: ir.Graph) -> None:
    made = [value for node in all_nodes(graph) for value in node.outputs]
    made += [value for inner in nested_graphs(graph) for value in inner.inputs]
    outputs = set(graph.outputs)
    for value in made:
        if value not in outputs:
            value.shape = None


def _read(unit: Unit) -> list[ir.Value]:
    read = [value for node in unit for value in (*node.inputs, *captured(node))]
    return [value for value in read if value is not None]


@dataclass(frozen=True)
class _Batched:
    """A value for the first half, the second half, and both together."""

    first: Tensor
    second: Tensor
    both: Tensor

    @property
    def axis(self) -> int | None:
        """The one axis on which the value for both is larger; None if there is none."""
        if self.first.ndim != self.both.ndim:
            return None
        sizes = enumerate(zip(self.first.shape, self.both.shape, strict=True))
        axes = [axis for axis, (one, two) in sizes if one != two]
        return axes[0] if len(axes) == 1 else None


class _Trial:
    """Runs the graph on a batch and on twice the batch, and edits it on the way."""

    def __init__(self, model: ir.Model, batch: int, axes: Axes) -> None:
        self.graph, self.batch, self.axes = model.graph, batch, axes
        self.outputs: dict[ir.Value, int | None] = {}
        self.imports = model.opset_imports
        self.editor = Editor(model.graph)
        self.values: dict[ir.Value, _Batched] = {}
        self.outer: dict[ir.Value, int] = {}
        self.changes: list[tuple[ir.Node, int, ir.Value | None]] = []

    def run(self, progress: Progress) -> bool:
        """Whether the edited graph treats the samples of a larger batch one by one."""
        generator = torch.Generator().manual_seed(0)
        for value in self.graph.inputs:
            first, second = (_sample(value, generator) for _ in range(2))
            axis = self.axes[str(value.name)]
            if axis is None:
                self.values[value] = _Batched(first, first, first)
            else:
                self.values[value] = _Batched(first, second, torch.cat([first, second], axis))
        parts = units(self.graph)
        last = {value: unit for unit in parts for value in _read(unit)}
        try:
            with torch.no_grad():
                for number, unit in enumerate(parts):
                    progress("read", number, len(parts), "")
                    self._visit(unit)
                    for read in _read(unit):
                        if last.get(read) is unit and not read.is_graph_output():
                            self.values.pop(read, None)
        except (RuntimeError, IndexError, ValueError):
            # torch's own words for shapes that do not fit: this batch cannot be freed.
            return False
        progress("read", len(parts), len(parts), "")
        outputs = [value for value in self.graph.outputs if not is_opaque(value)]
        return all(self._is_independent(value) for value in outputs)

    def undo(self) -> None:
        """Put every changed input back; inserted nodes are left unused."""
        for node, place, value in reversed(self.changes):
            node.replace_input_with(place, value)

    def _change(self, node: ir.Node, place: int, value: ir.Value) -> None:
        self.changes.append((node, place, node.inputs[place]))
        node.replace_input_with(place, value)

    def _visit(self, unit: Unit) -> None:
        node = unit[0]
        if node.op_type == "Reshape":
            self._free_reshape(node)
        elif node.op_type == "Flatten":
            self._free_flatten(node)
        elif node.op_type == "Resize":
            self._free_resize(node)
        elif node.op_type == "Concat":
            self._free_concat(node)
        elif node.op_type in ("GRU", "LSTM", "RNN"):
            self._free_states(node)
        kernel = unit_kernel(unit, self.imports)
        results = [self._evaluate(kernel, part) for part in ("first", "second", "both")]
        for value, *parts in zip(kernel.outputs, *results, strict=False):
            self.values[value] = _Batched(*parts)
            self._inherit_outer(node, value)

    def _evaluate(self, kernel: NodeKernel, part: str) -> Sequence[Tensor]:
        arguments = [
            None if value is None or place in kernel.baked else self._tensor(value, part)
            for place, value in enumerate(kernel.inputs)
        ]
        return [made for made in kernel.results(arguments) if made is not None]

    def _tensor(self, value: ir.Value, part: str) -> Tensor:
        if value.const_value is not None and value not in self.values:
            return to_torch(value.const_value, str(value.name))
        tensor: Tensor = getattr(self.values[value], part)
        return tensor

    def _inherit_outer(self, node: ir.Node, value: ir.Value) -> None:
        """Rows of positions x batch stay such rows through operators that keep their number."""
        rows = self.values[value].first.shape[:1]
        for source in node.inputs:
            if source in self.outer and self.values[source].first.shape[:1] == rows:
                self.outer[value] = self.outer[source]

    def _free_reshape(self, node: ir.Node) -> None:
        source = node.inputs[0]
        target = query.constant(node.inputs[1])
        if target is None or source is None or source not in self.values:
            return
        axis = self.values[source].axis
        if axis is None:
            return
        sizes = list(self.values[source].first.shape)
        before = math.prod(sizes[:axis]) * self.outer.get(source, 1)
        entries = _resolved(sizes, [int(entry) for entry in target])
        place, inner = _batch_place(entries, before, self.batch)
        if place is None:
            return
        if inner:
            self.outer[node.outputs[0]] = before
        entries[place] = -1
        if list(target) != entries:
            shape = self.editor.constant(f"{node.name}.shape", np.array(entries, dtype=np.int64))
            self._change(node, 1, shape)

    def _free_flatten(self, node: ir.Node) -> None:
        """[1, ...] -> [1, all]: the same from axis 1 on, which gives [N, all] for N samples."""
        source = node.inputs[0]
        if self.batch != 1 or source not in self.values or self.values[source].axis != 0:
            return
        if node.attributes.get_int("axis", 1) in (0, -self.values[source].first.ndim):
            node.attributes["axis"] = ir.AttrInt64("axis", 1)

    def _free_resize(self, node: ir.Node) -> None:
        """Sizes [B, C, ...] -> [batch of the input, C, ...]."""
        source = node.inputs[0]
        target = query.constant(node.inputs[3]) if len(node.inputs) > 3 else None
        if target is None or source not in self.values or "axes" in node.attributes:
            return
        if self.values[source].axis == 0 and target[0] == self.batch:
            rest = self.editor.constant(f"{node.name}.rest", target[1:].astype(np.int64))
            self._change(node, 3, self._joined(node, source, rest, f"{node.name}.sizes"))

    def _free_concat(self, node: ir.Node) -> None:
        batched = [value for value in node.inputs if value in self.values]
        axis = node.attributes.get_int("axis", 0)
        if not batched or self.values[batched[0]].axis != 0 or axis == 0:
            return
        for place, value in enumerate(node.inputs):
            array = query.constant(value)
            if array is None or array.ndim < 2 or axis % array.ndim == 0:
                continue
            if array.shape[0] == self.batch and (array == array[:1]).all():
                self._expand(node, place, array, batched[0])

    def _free_states(self, node: ir.Node) -> None:
        """Initial states [D, B, H], equal for all samples, -> [D, batch of the input, H]."""
        source = node.inputs[0]
        if node.attributes.get_int("layout", 0) or source not in self.values:
            return
        if self.values[source].axis != 1:
            return
        for place, value in enumerate(node.inputs[5:7], start=5):
            array = query.constant(value)
            if array is not None and array.shape[1] == self.batch and (array == array[:, :1]).all():
                self._expand(node, place, array, source, axis=1)

    def _joined(
        self, node: ir.Node, like: ir.Value | None, rest: ir.Value, name: str, axis: int = 0
    ) -> ir.Value:
        """The shape [batch of ``like``, *rest] as a value computed before ``node``; for ``axis``
        1 the batch is the second axis of ``like``, and 1 stands before it."""
        batch = ir.node("Shape", [like], {"start": axis, "end": axis + 1}, name=f"{name}.batch")
        first = [self.editor.constant(f"{name}.one", np.ones(1, dtype=np.int64))] * axis
        shape = ir.node("Concat", [*first, batch.outputs[0], rest], {"axis": 0}, name=name)
        return self._insert(node, [batch, shape], ir.TensorType(ir.DataType.INT64))

    def _expand(
        self, node: ir.Node, place: int, array: np.ndarray, like: ir.Value | None, axis: int = 0
    ) -> None:
        """The constant ``array``, equal along ``axis``, -> as many of it as ``like`` has there."""
        value = node.inputs[place]
        if value is None:
            return
        name = f"{node.name}.{value.name}"
        one = array.take([0], axis)
        row = value if self.batch == 1 else self.editor.constant(f"{name}.row", one)
        ones = self.editor.constant(f"{name}.ones", np.ones(array.ndim - 1 - axis, dtype=np.int64))
        shape = self._joined(node, like, ones, f"{name}.shape", axis)
        wide = ir.node("Expand", [row, shape], name=f"{name}.expand")
        self._change(node, place, self._insert(node, [wide], value.type))

    def _insert(
        self, node: ir.Node, made: Sequence[ir.Node], kind: ir.TypeProtocol | None
    ) -> ir.Value:
        for entry in made:
            entry.outputs[0].name = self.editor.unique(str(entry.name))
            entry.outputs[0].type = kind
            self.graph.insert_before(node, entry)
            self._visit((entry,))
        return made[-1].outputs[0]

    def _is_independent(self, value: ir.Value) -> bool:
        """Whether the output for both halves is the outputs of the halves, one after the other."""
        result = self.values.get(value)
        if result is None or result.axis is None:
            return False
        self.outputs[value] = result.axis
        expected = torch.cat([result.first, result.second], result.axis)
        if expected.shape != result.both.shape:
            return False
        difference = (expected.double() - result.both.double()).abs().max()
        return bool(difference <= TOLERANCE * expected.double().abs().max().clamp(min=1e-6))


def _sample(value: ir.Value, generator: torch.Generator) -> Tensor:
    sizes = [size or 0 for size in query.static_sizes(value) or ()]
    kind = TORCH_DTYPES[value.dtype or ir.DataType.FLOAT]
    if kind.is_floating_point:
        return torch.randn(sizes, generator=generator).to(kind)
    return torch.randint(0, 2, sizes, generator=generator).to(kind)


def _resolved(sizes: Sequence[int], target: list[int]) -> list[int]:
    """A Reshape target with its 0 and -1 entries worked out for the input ``sizes``."""
    target = [sizes[place] if entry == 0 else entry for place, entry in enumerate(target)]
    if -1 in target:
        known = -math.prod(target)
        target[target.index(-1)] = math.prod(sizes) // known if known else 0
    return target


def _batch_place(entries: list[int], before: int, batch: int) -> tuple[int | None, bool]:
    """(entry of the target that takes the batch, whether the batch is its inner part).

    ``before`` is the number of blocks into which the axes before the batch cut the input.
    """
    starts = [math.prod(entries[:place]) for place in range(len(entries) + 1)]
    for place, entry in enumerate(entries):
        if starts[place] == before and entry == batch:
            return place, False
    for place, entry in enumerate(entries[:-1] or entries):
        if starts[place] == before and entry % batch == 0:
            return place, False
    for place in range(len(entries)):
        if starts[place + 1] == before * batch:
            return place, True
    return None, False
