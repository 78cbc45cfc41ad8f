"""Edits that let one operator take any batch, where a batch is baked into its constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from torch import Tensor

from subbyte.graph import query
from subbyte.graph.module.opaque import Unit
from subbyte.graph.passes.editor import Editor


@dataclass(frozen=True)
class Batched:
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


class BatchEdits:
    """Edits of ``graph``, whose inputs have ``batch`` samples.

    ``values``: of every value that was computed so far. ``visit``: computes the values of a node
    that was inserted.
    """

    def __init__(
        self,
        graph: ir.Graph,
        batch: int,
        values: dict[ir.Value, Batched],
        visit: Callable[[Unit], None],
    ) -> None:
        self._graph, self._batch, self._values, self._visit = graph, batch, values, visit
        self._editor = Editor(graph)
        self._outer: dict[ir.Value, int] = {}
        self._changes: list[tuple[ir.Node, int, ir.Value | None]] = []
        self._free: dict[str, Callable[[ir.Node], None]] = {
            "Reshape": self._reshape,
            "Flatten": self._flatten,
            "Resize": self._resize,
            "Concat": self._concat,
            "RotaryEmbedding": self._angles,
            **dict.fromkeys(("GRU", "LSTM", "RNN"), self._states),
        }

    def free(self, node: ir.Node) -> None:
        """Edit ``node`` where one of its constants holds the batch; its inputs are computed."""
        if node.op_type in self._free:
            self._free[node.op_type](node)

    def undo(self) -> None:
        """Put every changed input back; inserted nodes are left unused."""
        for node, place, value in reversed(self._changes):
            node.replace_input_with(place, value)

    def _change(self, node: ir.Node, place: int, value: ir.Value) -> None:
        self._changes.append((node, place, node.inputs[place]))
        node.replace_input_with(place, value)

    def inherit_outer(self, node: ir.Node, value: ir.Value) -> None:
        """Rows of positions x batch stay such rows through operators that keep their number."""
        rows = self._values[value].first.shape[:1]
        for source in node.inputs:
            if source in self._outer and self._values[source].first.shape[:1] == rows:
                self._outer[value] = self._outer[source]

    def _reshape(self, node: ir.Node) -> None:
        source = node.inputs[0]
        target = query.constant(node.inputs[1])
        if target is None or source is None or source not in self._values:
            return
        axis = self._values[source].axis
        if axis is None:
            return
        sizes = list(self._values[source].first.shape)
        before = math.prod(sizes[:axis]) * self._outer.get(source, 1)
        entries = _resolved(sizes, [int(entry) for entry in target])
        place, inner = _batch_place(entries, before, self._batch)
        if place is None:
            return
        if inner:
            self._outer[node.outputs[0]] = before
        entries[place] = -1
        if list(target) != entries:
            shape = self._editor.constant(f"{node.name}.shape", np.array(entries, dtype=np.int64))
            self._change(node, 1, shape)

    def _flatten(self, node: ir.Node) -> None:
        """[1, ...] -> [1, all]: the same from axis 1 on, which gives [N, all] for N samples."""
        source = node.inputs[0]
        if self._batch != 1 or source not in self._values or self._values[source].axis != 0:
            return
        if node.attributes.get_int("axis", 1) in (0, -self._values[source].first.ndim):
            node.attributes["axis"] = ir.AttrInt64("axis", 1)

    def _resize(self, node: ir.Node) -> None:
        """Sizes [B, C, ...] -> [batch of the input, C, ...]."""
        source = node.inputs[0]
        target = query.constant(node.inputs[3]) if len(node.inputs) > 3 else None
        if target is None or source not in self._values or "axes" in node.attributes:
            return
        if self._values[source].axis == 0 and target[0] == self._batch:
            rest = self._editor.constant(f"{node.name}.rest", target[1:].astype(np.int64))
            self._change(node, 3, self._joined(node, source, rest, f"{node.name}.sizes"))

    def _concat(self, node: ir.Node) -> None:
        batched = [value for value in node.inputs if value in self._values]
        axis = node.attributes.get_int("axis", 0)
        if not batched or self._values[batched[0]].axis != 0 or axis == 0:
            return
        for place, value in enumerate(node.inputs):
            array = query.constant(value)
            if array is None or array.ndim < 2 or axis % array.ndim == 0:
                continue
            if array.shape[0] == self._batch and (array == array[:1]).all():
                self._expand(node, place, array, batched[0])

    def _states(self, node: ir.Node) -> None:
        """Initial states [D, B, H], equal for all samples, -> [D, batch of the input, H]."""
        source = node.inputs[0]
        if node.attributes.get_int("layout", 0) or source not in self._values:
            return
        if self._values[source].axis != 1:
            return
        for place, value in enumerate(node.inputs[5:7], start=5):
            array = query.constant(value)
            if (
                array is not None
                and array.shape[1] == self._batch
                and (array == array[:, :1]).all()
            ):
                self._expand(node, place, array, source, axis=1)

    def _angles(self, node: ir.Node) -> None:
        """Angles [B, S, D] or positions [B, S], equal for all samples: none of them broadcasts."""
        source = node.inputs[0]
        if source not in self._values or self._values[source].axis != 0:
            return
        positions = query.optional_input(node, 3) is not None
        for place in (3,) if positions else (1, 2):
            array = query.constant(node.inputs[place])
            if array is not None and (array == array[:1]).all():
                self._expand(node, place, array, source)

    def _joined(
        self, node: ir.Node, like: ir.Value | None, rest: ir.Value, name: str, axis: int = 0
    ) -> ir.Value:
        """The shape [batch of ``like``, *rest] as a value computed before ``node``; for ``axis``
        1 the batch is the second axis of ``like``, and 1 stands before it."""
        batch = ir.node("Shape", [like], {"start": axis, "end": axis + 1}, name=f"{name}.batch")
        first = [self._editor.constant(f"{name}.one", np.ones(1, dtype=np.int64))] * axis
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
        row = value if self._batch == 1 else self._editor.constant(f"{name}.row", one)
        ones = self._editor.constant(f"{name}.ones", np.ones(array.ndim - 1 - axis, dtype=np.int64))
        shape = self._joined(node, like, ones, f"{name}.shape", axis)
        wide = ir.node("Expand", [row, shape], name=f"{name}.expand")
        self._change(node, place, self._insert(node, [wide], value.type))

    def _insert(
        self, node: ir.Node, made: Sequence[ir.Node], kind: ir.TypeProtocol | None
    ) -> ir.Value:
        for entry in made:
            entry.outputs[0].name = self._editor.unique(str(entry.name))
            entry.outputs[0].type = kind
            self._graph.insert_before(node, entry)
            self._visit((entry,))
        return made[-1].outputs[0]


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
