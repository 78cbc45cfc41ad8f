"""A network as the rest of subbyte sees it: a prepared ONNX graph and its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from subbyte.methods.binarization import Binarization
from subbyte.methods.coded import WeightShape

LayerOp = Literal["Conv", "ConvTranspose", "Linear"]

Order = Literal["kernel", "transposed kernel", "stored", "turned"]
"""How a stored weight becomes W[O, T, I] (`subbyte.graph.weight_layout`)."""


@dataclass(frozen=True)
class Layer:
    """One convolution or linear node whose weight is a constant.

    ``node`` is a node of the prepared graph:

    - ``Conv`` or ``ConvTranspose`` (standard domain, attributes complete: ``auto_pad`` resolved to
      ``pads`` where shapes allow);
    - ``Linear`` in domain ``subbyte.prepared`` (inputs x, W[O, I], optional b[O]; attribute
      ``axis``: the axis of x that is contracted, -1 or -2).

    Nodes that share one weight initializer have the same ``weight`` name. ``binarization``: of the
    input, in a layer that was trained binary.
    """

    name: str
    op: LayerOp
    node: ir.Node
    input: str
    output: str
    weight: str
    bias: str | None
    shape: WeightShape
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    binarization: Binarization | None = None

    @property
    def depthwise(self) -> bool:
        """Whether each convolution group reads one input channel."""
        return self.shape.groups > 1 and self.shape.inputs == 1


@dataclass(frozen=True)
class Unpacked:
    """A weight that is unpacked before its node reads it: not the weight of a `Layer`.

    ``node``: a node of the prepared graph, which reads ``weight`` at ``place``, or in a body that
    it holds (``place`` is None then). ``rows``: the node is a Gather that takes whole rows; no
    other rows are unpacked. ``stored``: the shape of the initializer.
    """

    name: str
    op: str
    node: ir.Node
    place: int | None
    weight: str
    shape: WeightShape
    order: Order
    stored: tuple[int, ...]
    rows: bool = False

    @property
    def depthwise(self) -> bool:
        """Whether each group reads one input."""
        return self.shape.groups > 1 and self.shape.inputs == 1

    @property
    def binarization(self) -> None:
        """Its inputs are never binarized."""
        return


Weighted = Layer | Unpacked
"""The owner of a coded weight."""


@dataclass(frozen=True)
class UncodedConstant:
    """A weight of many numbers that is written as it is; ``type``: of its elements, as ONNX
    names it; ``reason`` says why."""

    name: str
    count: int
    nbytes: int
    type: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}, {self.nbytes} bytes of {self.type.lower()} ({self.reason})"


@dataclass(frozen=True)
class Network:
    """The prepared graph (functions inlined, constants folded, BatchNorm folded) and its layers.

    ``layers`` are in the order in which they run, ``unpacked`` are the other weights that can
    be coded, in theirs; ``uncoded`` the large constants that cannot. ``fixed_batch`` is the
    only batch size with which the graph runs, where an exporter baked one in; None if any size
    will do.
    """

    model: ir.Model
    layers: tuple[Layer, ...]
    name: str
    fixed_batch: int | None = None
    unpacked: tuple[Unpacked, ...] = ()
    uncoded: tuple[UncodedConstant, ...] = ()

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """``layers`` and ``unpacked`` in the order in which they run."""
        place = {node: number for number, node in enumerate(self.model.graph)}
        found: list[Weighted] = [*self.layers, *self.unpacked]
        return tuple(sorted(found, key=lambda entry: place[entry.node]))

    @property
    def opset(self) -> int:
        """Version of the standard operator set, at least 18."""
        return self.model.opset_imports[""]
