"""A method: one row of callables, which its folder fills in.

A method sees a `WeightShape`, a few `LayerTraits`, second moments and statistics. It knows no graph
and sees no samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods.binarization import Binarization
from subbyte.methods.coded import CodedWeight, LookupTables, WeightShape, decode_scale
from subbyte.methods.operations import Operations
from subbyte.methods.options import Given, MethodOptions, Value

if TYPE_CHECKING:
    from subbyte.methods.training import TrainableWeight

Nodes = Callable[[str], list[onnx.NodeProto]]
"""A function from a variant to standard ONNX nodes."""


@dataclass(frozen=True)
class LayerTraits:
    """The facts of a layer that planning tells a method.

    ``linear``: it multiplies rows, it is no convolution. ``output``: it ends the network.
    ``unpacked``: its weight is unpacked before its node reads it (tables, recurrent nodes).
    ``kept``: it stays at 8 bits by default. ``tiny``: it is depthwise, or too small for codebooks.
    ``binarizes``: its input may be binarized. ``weight``: gives its float weight [O, T, I].
    """

    shape: WeightShape
    weight: Callable[[], Tensor]
    linear: bool = False
    output: bool = False
    unpacked: bool = False
    kept: bool = False
    tiny: bool = False
    binarizes: bool = False


@dataclass(frozen=True)
class SearchProblem:
    """A layer to be priced: its ``weight`` [O, T, I], and the covariance of its inputs in
    ``blocks`` [groups, ceil(I / 24), 24, 24] of consecutive channels (`statistics.BLOCK`)."""

    layer: LayerTraits
    weight: Tensor
    blocks: Tensor
    seed: int

    @property
    def energy(self) -> Tensor:
        """Mean square of every input channel [groups, I]."""
        return self.blocks.diagonal(dim1=2, dim2=3).flatten(1)[:, : self.layer.shape.inputs]

    @property
    def rows(self) -> Tensor:
        """The weight by convolution group: [groups, O / groups, T, I]."""
        shape = self.layer.shape
        return self.weight.reshape(shape.groups, -1, shape.taps, shape.inputs)


@dataclass(frozen=True)
class Found:
    """Options that a layer may be coded with, and the predicted output energy of the error."""

    options: MethodOptions
    error: float


@dataclass(frozen=True)
class Kernel:
    """The facts that decide which native kernel multiplies with a weight.

    ``lookup``: channels a code, where inner products are looked up if that is faster; 0: never.
    ``words`` of a codebook and whether codes have a ``gain``, for such a kernel. ``streamed``: bits
    a code, where long linear layers read the codes as they are; 0: never. A weight that no such
    kernel takes is unpacked to int8 when the file is loaded.
    """

    lookup: int = 0
    words: int = 16
    gain: bool = False
    streamed: int = 0


class Trainable(Protocol):
    """Makes the module that trains a coded weight."""

    def __call__(
        self, coded: CodedWeight, *, move: bool, reference: Tensor | None
    ) -> TrainableWeight:
        """``move``: codes may change; ``reference`` [O, T, I]: the float weight."""


def _nothing_to_check(*_: object) -> None:
    """Every layer and all options will do."""


@dataclass(frozen=True)
class Method:
    """One way of coding a weight. ``options`` is its subclass of `MethodOptions`.

    Packed form:
        stored_bytes: bytes of a shape with options; at most so many where they depend on the
            weight.
        blank: a coded weight of the right form, its numbers of no meaning.
        decode: effective integers int8 [O, T, I]. scale: float32 [O].
        weight_nodes: nodes that define ``weight_int8`` [O, T, I] and ``weight_scale`` [O] from the
            packed inputs and attributes.
        row_nodes: nodes that unpack only the rows that a table is asked for: ``row_int8`` [n, I]
            and ``row_scale`` [n] from ``rows`` int64 [n]; None: whole weights only.
        options_of: the options that a packed form shows, by name.
    Encoder:
        encode: (target [O, T, I], moments [groups, T*I, T*I], shape, options, seed).
        encode_unpacked: the same for weights that nothing multiplies as integers; None: encode.
    Planning:
        default: a layer's options without a budget, from the user's options; None: the method is
            not for this layer.
        search: the options for a budget to choose from.
        check: raises `OptionError` where a layer cannot have the options.
        check_given: the same for the user's options, together with a budget of a kind or None.
        check_network: the same for the user's options, where no layer of the network has the
            method.
    Optional:
        kernel: the weight as native kernels read it; by default they multiply with the unpacked
            int8.
        tables: words that a kernel looks up; None: it multiplies.
        trainable: the module that trains the weight; by default its scales.
        trained: the options of a layer that training binarized so; None: the method has none.
        binarization: of the layer's input, by variant; by default the input stays as it is.
        operations: multiplications and additions a position; by default the layer's own.
        planes: the bits of each bit plane, for a report; by default no planes.
    """

    name: str
    paper: str
    becomes: str
    bits: str
    summary: str
    options: type[MethodOptions]
    stored_bytes: Callable[[WeightShape, Any], int]
    blank: Callable[[WeightShape, Any], CodedWeight]
    decode: Callable[[CodedWeight], NDArray[np.int8]]
    weight_nodes: Nodes
    options_of: Callable[[CodedWeight], Mapping[str, Value]]
    encode: Callable[[Tensor, Tensor, WeightShape, Any, int], CodedWeight]
    default: Callable[[LayerTraits, Given], MethodOptions | None]
    search: Callable[[SearchProblem, Given], list[Found]]
    variants: tuple[str, ...] = ("",)
    encode_unpacked: Callable[[Tensor, Tensor, WeightShape, Any, int], CodedWeight] | None = None
    check: Callable[[LayerTraits, Any], None] = _nothing_to_check
    check_given: Callable[[Given, str | None], None] = _nothing_to_check
    check_network: Callable[[Sequence[LayerTraits], Given], None] = _nothing_to_check
    scale: Callable[[CodedWeight], NDArray[np.float32]] = decode_scale
    row_nodes: Nodes | None = None
    kernel: Callable[[Any], Kernel] = lambda options: Kernel()
    tables: Callable[[CodedWeight], LookupTables | None] = lambda coded: None
    trainable: Trainable | None = None
    trained: Callable[[Binarization], MethodOptions] | None = None
    binarization: Callable[[str], Binarization | None] = lambda variant: None
    operations: Callable[[CodedWeight], Operations] | None = None
    planes: Callable[[CodedWeight], Mapping[str, float]] | None = None

    def setting(self, name: str) -> bool:
        """Whether the method has an option of this name."""
        return name in self.options.settings()

    def checked(self, given: Mapping[str, object]) -> dict[str, Value]:
        """The options that a user gives, each in its own type.

        Raises:
            OptionError: an option that the method does not have, or out of range.
        """
        settings = self.options.settings()
        for name in given:
            if name not in settings:
                raise OptionError(
                    f"{self.name}: unknown option {name}",
                    expected=", ".join(settings) or "no options",
                )
        return {name: settings[name].check(value, self.name) for name, value in given.items()}
