"""A compressed file before any weight is coded: how large it will be, and how fast.

All its codes are zero; all else is as it will be: nodes, functions, sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.layer import LayerOptions
from subbyte.graph.compressed.inline import inline
from subbyte.graph.islands.plan import plan_islands
from subbyte.graph.network import Network, Weighted
from subbyte.graph.write.model import write_network
from subbyte.methods import CodedWeight
from subbyte.methods.binary import form as binary_form
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.composite import form as composite_form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product import form as product_form
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar import form as scalar_form
from subbyte.methods.ternary import form as ternary_form
from subbyte.methods.ternary.form import TernaryOptions

_SHIFT = 8


def blank_model(
    network: Network,
    plan: Mapping[str, LayerOptions],
    options: CompressOptions,
    looked_up: Collection[str] | None = None,
) -> onnx.ModelProto:
    """The file of ``plan`` with weights of nothing.

    ``looked_up``: names of the layers that the kernels look up; None: which these are does not
    matter, all that have tables.
    """
    coded = {
        layer.weight: blank_weight(layer, plan[layer.weight])
        for layer in network.weighted
        if layer.weight in plan
    }
    if options.activations == "float":
        written = write_network(network, coded, _biases(network), float_reason="blank")
    else:
        islands = plan_islands(network)
        params = {
            group.name: group.params(-float(number), float(number))
            for number, group in enumerate(islands.groups, 1)
        }
        shifts = {
            layer.name: _SHIFT
            for layer in network.layers
            if islands.layers[layer.name].form != "float"
            and _has_tables(plan[layer.weight])
            and (looked_up is None or layer.name in looked_up)
        }
        written = write_network(
            network, coded, _biases(network), islands, activations=params, table_shifts=shifts
        )
    return inline(written) if options.inline else written


def overhead(network: Network, plan: Mapping[str, LayerOptions], options: CompressOptions) -> int:
    """Bytes of the file of ``plan`` beside those of the coded weights."""
    layers = {layer.weight: layer for layer in network.weighted}
    weights = sum(blank_weight(layers[name], form).nbytes for name, form in plan.items())
    return blank_model(network, plan, options).ByteSize() - weights


def blank_weight(layer: Weighted, options: LayerOptions) -> CodedWeight:
    """A coded weight of the right form, and but for composite ones of the right size."""
    shape = layer.shape
    scale = np.ones(shape.outputs, np.float32)
    full = np.zeros((shape.outputs, shape.taps, shape.inputs), np.int32)
    if isinstance(options, ProductOptions):
        groups = -(-shape.inputs // options.group)
        codes = np.zeros((shape.outputs, shape.taps, groups), np.uint8)
        books = 1 if options.shared else groups * shape.groups
        book = np.zeros((books, options.words, options.group), np.int8)
        return product_form.pack(shape, options, codes, codes, book, scale)
    if isinstance(options, TernaryOptions):
        left = np.zeros((shape.outputs, options.rank), np.int8)
        right = np.zeros((shape.groups, options.rank, shape.taps * shape.inputs), np.int8)
        return ternary_form.pack(shape, left, right[:, :, 0], right, scale)
    if isinstance(options, CompositeOptions):
        # Planes that are empty would be written in another way.
        return composite_form.pack(shape, full + (1 << options.planes) - 1, scale, {})
    if isinstance(options, BinaryOptions):
        return binary_form.pack(shape, options, full < 0, scale)
    return scalar_form.pack(shape, options.bits, "zero", full, scale)


def _biases(network: Network) -> dict[str, NDArray[np.float32]]:
    """Every coded layer gets a bias: that of the means (`Moments.bias`).

    All different, as equal constants are written once.
    """
    return {
        layer.name: np.full(layer.shape.outputs, number, np.float32)
        for number, layer in enumerate(network.layers)
    }


def _has_tables(options: LayerOptions) -> bool:
    return isinstance(options, ProductOptions) or getattr(options, "bits", 0) == 2
