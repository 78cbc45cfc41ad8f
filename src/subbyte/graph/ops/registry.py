"""The table of operators: how one ONNX node becomes a function of torch tensors.

Adding an operator is one decorated function::

    @operator("Softmax")
    def softmax(form: NodeView) -> Kernel:
        axis = form.attribute("axis", -1)
        return lambda x: torch.softmax(x, axis)

The function runs once, when a module is built. It reads the attributes it knows from `NodeView`; an
attribute that it did not read is reported as not covered, so that nothing of a newer operator set
is ignored silently. The function that it returns runs in every forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import torch
from numpy.typing import NDArray

from subbyte.errors import UnsupportedOperatorError

Kernel = Callable[..., Any]
"""Takes one tensor (or None) per node input, returns a tensor, or a tuple of tensors."""

PREPARED = "subbyte.prepared"
"""Domain of the nodes that preparation makes: ``Linear``."""

Value = TypeVar("Value")


@dataclass
class NodeView:
    """One node as the builder of its kernel sees it.

    ``constants`` holds the values of the inputs that are constant, by position. A builder
    that asks for one with `static` gets it once and for all: the kernel is then called
    with None in that position.
    """

    op_type: str
    domain: str
    name: str
    opset: int
    attributes: Mapping[str, Any]
    constants: Mapping[int, NDArray[Any]]
    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    read: set[str] = field(default_factory=set)
    baked: set[int] = field(default_factory=set)

    def attribute(self, name: str, default: Value) -> Value:
        """Value of attribute ``name``, or ``default``; its type is the default's type."""
        self.read.add(name)
        value: Value = self.attributes.get(name, default)
        return value

    def optional(self, name: str) -> Any:
        """Value of attribute ``name``, or None."""
        self.read.add(name)
        return self.attributes.get(name)

    def static(self, position: int) -> NDArray[Any] | None:
        """The value of input ``position`` if it is a constant, else None."""
        value = self.constants.get(position)
        if value is not None:
            self.baked.add(position)
        return value

    def has(self, position: int) -> bool:
        """Whether input ``position`` is given."""
        return position < len(self.inputs) and self.inputs[position]

    def integers(self, position: int) -> Callable[[torch.Tensor | None], list[int] | None]:
        """How the kernel reads input ``position`` as a list of int: a constant costs nothing."""
        value = self.static(position)
        if value is not None:
            fixed = [int(entry) for entry in value.reshape(-1)]
            return lambda tensor: fixed
        return lambda tensor: None if tensor is None else [int(n) for n in tensor.reshape(-1)]

    def unsupported(self, reason: str) -> NoReturn:
        """Raise `UnsupportedOperatorError` for this node with the reason."""
        raise unsupported(self.label(reason))

    def label(self, reason: str = "") -> str:
        """``Conv (node conv1, opset 18): reason``."""
        operator_name = f"{self.domain}.{self.op_type}" if self.domain else self.op_type
        text = f"{operator_name} (node {self.name}, opset {self.opset})"
        return f"{text}: {reason}" if reason else text


def unsupported(*labels: str) -> UnsupportedOperatorError:
    """The error that names every label (see `NodeView.label`)."""
    what = "operator not covered" if len(labels) == 1 else "operators not covered"
    return UnsupportedOperatorError(what, got="; ".join(labels))


Builder = Callable[[NodeView], Kernel]


@dataclass(frozen=True)
class Operator:
    """A row of the table.

    ``lengths`` are the input positions that hold sizes, axes or indices which the kernel
    reads as Python numbers: such values stay on the CPU when the module is on a GPU.
    ``makes_lengths``: its output is such a value (``Shape``, ``Size``). ``statistics`` are
    the positions of constants that are no parameters, though they are float vectors.
    """

    build: Builder
    outputs: int
    lengths: frozenset[int]
    makes_lengths: bool
    statistics: frozenset[int]


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    *op_types: str,
    domain: str = "",
    outputs: int = 1,
    lengths: tuple[int, ...] = (),
    makes_lengths: bool = False,
    statistics: tuple[int, ...] = (),
) -> Callable[[Builder], Builder]:
    """Register a kernel builder for one or more operator types."""

    def register(build: Builder) -> Builder:
        row = Operator(build, outputs, frozenset(lengths), makes_lengths, frozenset(statistics))
        for op_type in op_types:
            if (domain, op_type) in OPERATORS:
                raise KeyError(f"operator {op_type} is registered twice")
            OPERATORS[domain, op_type] = row
        return build

    return register


def register_functions(functions: Mapping[str, Kernel]) -> None:
    """Register operators without attributes whose kernel is a plain function."""
    for op_type, function in functions.items():
        operator(op_type)(_always(function))


def _always(kernel: Kernel) -> Builder:
    def build(form: NodeView) -> Kernel:
        return kernel

    return build


def build_kernel(form: NodeView) -> Kernel:
    """The kernel of a node; raises `UnsupportedOperatorError` if its form is not covered."""
    row = OPERATORS.get((form.domain, form.op_type))
    if row is None:
        form.unsupported("no such operator in the table")
    extra = [position for position, used in enumerate(form.outputs) if used]
    if extra and extra[-1] >= row.outputs:
        form.unsupported(f"output {extra[-1]} is used")
    kernel = row.build(form)
    unread = sorted(set(form.attributes) - form.read)
    if unread:
        form.unsupported("attribute " + ", ".join(unread))
    return kernel
