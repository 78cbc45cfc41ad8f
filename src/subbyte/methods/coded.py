"""The result of every method: a weight in packed form.

Canonical weight layout, the only one a method sees: ``W[O, T, I]`` float32, O output channels, T
kernel taps (row-major over the kernel; 1 for a linear layer), I input channels *per convolution
group*. Flattened to ``[O, n]`` with n = T * I, an output is ``y = W x`` on patches x in (tap,
channel) order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper


@dataclass(frozen=True)
class WeightShape:
    """O outputs in all, T taps, I input channels per convolution group, ``groups`` of them."""

    outputs: int
    taps: int
    inputs: int
    groups: int = 1

    @property
    def count(self) -> int:
        """Number of weights, O * T * I."""
        return self.outputs * self.taps * self.inputs


@dataclass(frozen=True)
class CodedWeight:
    """One coded weight: packed arrays plus the integers that say how to unpack them.

    ``inputs`` are stored in the file as constant inputs of the layer's node, in this
    order; ``attributes`` become the node's attributes (an int, a float, or a list of ints).
    ``method`` + ``variant`` choose the unpacking function (`subbyte.methods`).
    """

    method: str
    variant: str
    shape: WeightShape
    inputs: Mapping[str, NDArray[np.generic]]
    attributes: Mapping[str, int | float | list[int]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes stored: codes, signs or gains, codebooks, scales, padding, float attributes."""
        arrays = sum(array.nbytes for array in self.inputs.values())
        return arrays + 4 * sum(isinstance(value, float) for value in self.attributes.values())

    @property
    def bits_per_weight(self) -> float:
        """8 * nbytes / (O * T * I)."""
        return 8 * self.nbytes / self.shape.count


@dataclass(frozen=True)
class LookupTables:
    """The words of a kernel that looks inner products up instead of computing them.

    ``words`` int8 [books, K, d]: one book per channel group of every convolution group, or one for
    all. ``codes`` uint8 [O, T, G]: which word an output adds for a tap and channel group. ``gains``
    float32 [O, T, G], what it is multiplied with; None: nothing.
    """

    words: NDArray[np.int8]
    codes: NDArray[np.uint8]
    gains: NDArray[np.float32] | None = None


def pack_scale(scale: NDArray[np.float32]) -> tuple[NDArray[np.float16], float]:
    """Split a positive scale [O] into float16 [O] and one float32 base: scale ~ half * base.

    The base keeps the halves at or below 1, where float16 holds 11 significant bits down
    to 2**-14 of the largest channel. Smaller scales (dead channels) are raised to that:
    integer kernels divide biases by the scale, so it must not vanish.
    """
    base = float(np.float32(scale.max(initial=0.0))) or 1.0
    return np.maximum(scale / base, 2.0**-14).astype(np.float16), base


def decode_scale(coded: CodedWeight) -> NDArray[np.float32]:
    """The per-output scale float32 [O] as the file's nodes compute it."""
    base = np.asarray(coded.attributes["scale_base"], np.float32)
    return coded.inputs["scale"].astype(np.float32) * base


def rescale(coded: CodedWeight, factor: NDArray[np.float32]) -> CodedWeight:
    """The same codes with every output's scale times ``factor`` [O], positive."""
    half, base = pack_scale(decode_scale(coded) * factor)
    return replace(
        coded,
        inputs={**coded.inputs, "scale": half},
        attributes={**coded.attributes, "scale_base": base},
    )


def row_scale_nodes() -> list[onnx.NodeProto]:
    """Standard nodes from ``scale``, ``scale_base`` and ``rows`` int64 [n] to ``row_scale`` [n]."""
    *first, cast, product = scale_nodes()
    cast.input[0], product.output[0] = "srow", "row_scale"
    return [*first, helper.make_node("Gather", ["scale", "rows"], ["srow"]), cast, product]


def scale_nodes() -> list[onnx.NodeProto]:
    """Standard nodes from input ``scale`` and attribute ``scale_base`` to ``weight_scale``."""
    base = helper.make_node("Constant", [], ["sbase"])
    base.attribute.append(
        onnx.AttributeProto(
            name="value_float", ref_attr_name="scale_base", type=onnx.AttributeProto.FLOAT
        )
    )
    return [
        base,
        helper.make_node("Cast", ["scale"], ["sfull"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sfull", "sbase"], ["weight_scale"]),
    ]
