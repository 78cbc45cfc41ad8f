"""A batch that an exporter baked into the graph is made dynamic, where that can be verified.

If every input has the same static size B on its first axis, the graph is run on B and on 2 B random
samples. ``Reshape`` to a constant shape is given a free entry where the batch goes:

1. to an entry B that begins where the batch begins in the input;
2. else into the entry that begins there, unless it is the last one (features);
3. else into the entry that ends there (positions x batch flattened to rows).

``Flatten`` of one sample to one row keeps the batch as rows. ``Resize`` to constant sizes takes the
first one from its input. A constant that ``Concat`` joins with batched values on another axis (a
class token) is expanded to their batch. So are constant initial states of LSTM, GRU and RNN, and
constant angles and positions of RotaryEmbedding. The result counts only if the outputs for 2 B
samples are the outputs of both halves; else the graph is left as it was, and runs with batches of
B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from subbyte.data.specs import InputSpec, find_axes
from subbyte.graph import query
from subbyte.graph.module.kernels import NodeKernel, unit_kernel
from subbyte.graph.module.node_view import to_torch
from subbyte.graph.module.opaque import Unit, is_opaque, units
from subbyte.graph.nested import all_nodes, captured, nested_graphs
from subbyte.graph.ops.element_types import TORCH_DTYPES
from subbyte.graph.passes.free_batch_edits import Batched, BatchEdits
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
        trial.edits.undo()
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


class _Trial:
    """Runs the graph on a batch and on twice the batch, and edits it on the way."""

    def __init__(self, model: ir.Model, batch: int, axes: Axes) -> None:
        self.graph, self.axes = model.graph, axes
        self.outputs: dict[ir.Value, int | None] = {}
        self.imports = model.opset_imports
        self.values: dict[ir.Value, Batched] = {}
        self.edits = BatchEdits(model.graph, batch, self.values, self._visit)

    def run(self, progress: Progress) -> bool:
        """Whether the edited graph treats the samples of a larger batch one by one."""
        generator = torch.Generator().manual_seed(0)
        for value in self.graph.inputs:
            first, second = (_sample(value, generator) for _ in range(2))
            axis = self.axes[str(value.name)]
            if axis is None:
                self.values[value] = Batched(first, first, first)
            else:
                self.values[value] = Batched(first, second, torch.cat([first, second], axis))
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

    def _visit(self, unit: Unit) -> None:
        node = unit[0]
        self.edits.free(node)
        kernel = unit_kernel(unit, self.imports)
        results = [self._evaluate(kernel, part) for part in ("first", "second", "both")]
        for value, *parts in zip(kernel.outputs, *results, strict=False):
            self.values[value] = Batched(*parts)
            self.edits.inherit_outer(node, value)

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
