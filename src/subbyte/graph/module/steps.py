"""The steps of a `GraphModule`: kernels, where they run, and how long values live."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from subbyte.errors import RunError, reason
from subbyte.graph.module.kernels import unit_kernel
from subbyte.graph.module.opaque import Unit
from subbyte.graph.ops import Kernel
from subbyte.graph.ops.registry import Operator


@dataclass(frozen=True)
class Step:
    """One node, or nodes that ONNX Runtime runs together, in execution order.

    ``inputs`` are the values that the node reads; values that its own graphs read from outside are
    included. ``arguments`` are the values that the kernel is called with: ``inputs``, with None for
    constants that the kernel already holds. ``row``: the operator's, None where ONNX Runtime runs
    the node, through which no gradient flows.

    Sizes are the outputs of ``Shape``, and all values computed from them. They stay on the CPU:
    ``on_cpu`` steps compute with nothing else. The values at positions ``moved`` have to go to the
    device of the one at position ``anchor``. ``plain``: of a layer whose ``kernel`` binarizes its
    input, the kernel that does not.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    kernel: Kernel
    arguments: tuple[str | None, ...]
    row: Operator | None = None
    on_cpu: bool = False
    moved: tuple[int, ...] = ()
    anchor: int = 0
    plain: Kernel | None = None

    @property
    def label(self) -> str:
        """The name of the node in errors."""
        return f"node {self.name!r} ({self.op_type})"

    def call(self, arguments: Sequence[Tensor | None]) -> Any:
        """The results of the kernel for its arguments.

        Raises:
            RunError: sizes that do not fit, indices out of range.
        """
        try:
            return self.kernel(*arguments)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            given = zip(self.arguments, arguments, strict=True)
            shapes = [f"{name} {list(x.shape)}" for name, x in given if isinstance(x, Tensor)]
            raise RunError(
                "a node cannot take the values that it gets",
                where=self.label,
                got=f"{', '.join(shapes)}: {reason(error)}",
            ) from error

    def follow(self, arguments: list[Tensor | None]) -> None:
        """Move the arguments at positions ``moved``, in place."""
        anchor = arguments[self.anchor]
        for place in self.moved:
            value = arguments[place]
            if value is not None and anchor is not None:
                arguments[place] = value.to(anchor.device)


def make_step(unit: Unit, imports: Mapping[str, int]) -> Step:
    """Build the kernel of nodes that run together, named after the first."""
    kernel, node = unit_kernel(unit, imports), unit[0]
    inputs = tuple(None if value is None else value.name for value in kernel.inputs)
    return Step(
        name=str(node.name),
        op_type=node.op_type,
        domain=node.domain,
        inputs=inputs,
        outputs=tuple(value.name or "" for value in kernel.outputs),
        kernel=kernel.run,
        arguments=tuple(
            None if place in kernel.baked else name for place, name in enumerate(inputs)
        ),
        row=kernel.row,
    )


def statistics(steps: Sequence[Step]) -> set[str]:
    """The constants that operators read as statistics, or through which no gradient flows."""
    return {
        name
        for step in steps
        for place in (range(len(step.arguments)) if step.row is None else step.row.statistics)
        if (name := step.arguments[place])
    }


def place_lengths(
    steps: Sequence[Step], constants: Collection[str], trained: Collection[str]
) -> list[Step]:
    """Steps that compute with sizes only go to the CPU; the others learn which values to move."""
    lengths: set[str] = set()
    placed = []
    for step in steps:
        read = {name for name in step.arguments if name}
        if step.row is not None and step.row.makes_lengths:
            lengths.update(step.outputs)
        elif (
            read - set(constants) <= lengths
            and not read & set(trained)
            and (not read or read & lengths)
        ):
            step = replace(step, on_cpu=True)
            lengths.update(step.outputs)
        elif read & lengths and step.row is not None:
            step = _with_moves(step, step.row.lengths, lengths)
        placed.append(step)
    return placed


def _with_moves(step: Step, length_places: Collection[int], lengths: Collection[str]) -> Step:
    data = [
        place for place, name in enumerate(step.arguments) if name and place not in length_places
    ]
    moved = tuple(place for place in data if step.arguments[place] in lengths)
    anchor = next((place for place in data if place not in moved), None)
    return step if anchor is None else replace(step, moved=moved, anchor=anchor)


class Lifetimes:
    """When each value is made and last read, by step index.

    Graph inputs are made at -1; graph outputs are read at ``len(steps)``. ``dropped[i]``
    are the values that nothing reads after step i.
    """

    def __init__(
        self, inputs: Sequence[str], outputs: Sequence[str], steps: Sequence[Step]
    ) -> None:
        self.made = dict.fromkeys(inputs, -1)
        self.last_read: dict[str, int] = {}
        for place, step in enumerate(steps):
            self.made.update(dict.fromkeys(step.outputs, place))
            self.last_read.update({name: place for name in step.inputs if name})
        self.last_read.update(dict.fromkeys(outputs, len(steps)))
        self.dropped: list[list[str]] = [[] for _ in steps]
        for name, made in self.made.items():
            last = self.last_read.get(name, made)
            if 0 <= last < len(steps):
                self.dropped[last].append(name)
