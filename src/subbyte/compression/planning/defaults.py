"""How a layer is coded where no plan file and no budget say so."""

from __future__ import annotations

import torch

from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.layer import LayerOptions, stored_bytes
from subbyte.compression.planning.candidates import (
    DEFAULT_PLANES,
    DEFAULT_PRODUCT,
    DEFAULT_RANK_RATIO,
    DEFAULT_SCALAR,
    binary_options,
    keeps_eight_bits,
    may_be_binary,
    methods_for,
    too_small,
)
from subbyte.compression.planning.plan_file import EIGHT_BITS, Plan, trained_options
from subbyte.errors import OptionError, WeightError
from subbyte.graph.network import Network, Unpacked, Weighted
from subbyte.graph.query import known
from subbyte.graph.weight_layout import canonical, output_layers
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product.form import (
    WORDS,
    ProductOptions,
    check_words,
    most_words,
    sub_columns,
)
from subbyte.methods.scalar.exact import least_bits
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary.form import TernaryOptions, rank_of

# d and K of the paper's AlexNet.
PUBLISHED_CONV, PUBLISHED_LINEAR, PUBLISHED_LAST = (8, 128), (4, 32), (1, 16)


def default_plan(network: Network, layers: list[Weighted], options: CompressOptions) -> Plan:
    """The options of every layer, by weight name."""
    if options.procedure == "exact":
        return plan_of_grids(network, layers)
    kept, outputs = kept_at_eight_bits(network, layers, options), output_layers(network)
    return {
        layer.weight: default_options(layer, options, layer.weight in kept, layer.weight in outputs)
        for layer in layers
    }


def kept_at_eight_bits(
    network: Network, layers: list[Weighted], options: CompressOptions
) -> frozenset[str]:
    """Weights that go below 8 bits only where a budget is out of reach otherwise.

    With ``binary`` also the output layers, layers of which no binary form is known, and all
    layers that were not trained binary in a network where others were.
    """
    kept = {layer.weight for layer in layers if keeps_eight_bits(layer)}
    if options.allowed == ("binary",):
        trained = any(layer.binarization for layer in layers)
        kept |= output_layers(network)
        kept |= {layer.weight for layer in layers if trained or not may_be_binary(layer)}
    return frozenset(kept - {layer.weight for layer in layers if layer.binarization})


def check_possible(layers: list[Weighted], options: CompressOptions) -> None:
    """Raise `OptionError` where the network cannot be coded as the options say: another method
    than it was trained for, or more words than any layer fills."""
    _check_trained(layers, options)
    if options.words is not None:
        _check_some_words(layers, options.words)


def _check_trained(layers: list[Weighted], options: CompressOptions) -> None:
    trained = next((layer for layer in layers if layer.binarization), None)
    if trained is not None and "binary" not in options.allowed:
        raise OptionError(
            "the network has layers that were trained binary",
            where=trained.name,
            expected="--method binary",
            got=", ".join(options.allowed),
        )


def _check_some_words(layers: list[Weighted], words: int) -> None:
    coded = [layer for layer in layers if not too_small(layer)]
    columns = max((sub_columns(layer.shape) for layer in coded), default=0)
    if words > most_words(columns):
        raise OptionError(
            f"--words: no layer has more than {columns} sub-columns",
            expected=f"at most {most_words(columns)}",
            got=words,
        )


def check_plan_words(plan: Plan, layers: list[Weighted]) -> None:
    """Raise `OptionError` for a layer that does not fill its codebook's words."""
    for layer in layers:
        found = plan[layer.weight]
        if isinstance(found, ProductOptions):
            try:
                check_words(layer.shape, found)
            except OptionError as error:
                raise OptionError(
                    f"plan: {error.what}", where=layer.name, expected=error.expected, got=error.got
                ) from error


def plan_of_grids(network: Network, layers: list[Weighted]) -> Plan:
    """Every layer whose weights lie on a grid keeps them, in the fewest bits that hold it."""
    plan: Plan = {}
    stored = network.model.graph.initializers
    for layer in layers:
        weight = torch.tensor(known(stored[layer.weight]), dtype=torch.float32)
        bits = least_bits(canonical(layer, weight))
        plan[layer.weight] = EIGHT_BITS if bits is None else ScalarOptions(bits, exact=True)
    if all(found == EIGHT_BITS for found in plan.values()):
        raise WeightError(
            "--procedure exact: no layer's weights lie on a grid",
            where=network.name,
            expected="levels of 2, 3 or 4 bits times a scale per output",
        )
    return plan


def default_options(
    layer: Weighted, options: CompressOptions, kept: bool, output: bool
) -> LayerOptions:
    """One layer's options; ``kept``: at 8 bits by default, ``output``: it ends the network."""
    if layer.binarization is not None:
        return trained_options(layer.binarization)
    if isinstance(layer, Unpacked) and options.procedure not in (None, "corrected"):
        return EIGHT_BITS
    if options.method == "product" and options.procedure in ("paper", "paper-plain"):
        return _published_product(layer, options, output)
    if kept:
        return EIGHT_BITS
    method = options.method
    if method not in methods_for(layer, options):
        method = "scalar"
    if method == "binary":
        return binary_options(layer, options)
    if method == "scalar":
        return DEFAULT_SCALAR
    if method == "ternary":
        ratio = options.rank_ratio or DEFAULT_RANK_RATIO
        return TernaryOptions(rank_of(layer.shape, ratio, options.rank))
    if method == "composite":
        return CompositeOptions(
            **{"planes": DEFAULT_PLANES[options.procedure]} | options.composite()
        )
    return _default_product(layer, options)


def _default_product(layer: Weighted, options: CompressOptions) -> LayerOptions:
    """Of an unpacked weight whose codebooks take more than what they save, a scalar grid."""
    group = options.group or DEFAULT_PRODUCT.group
    gain = DEFAULT_PRODUCT.gain if options.gain is None else options.gain
    wanted = options.words or DEFAULT_PRODUCT.words
    found = ProductOptions(group, min(wanted, most_words(sub_columns(layer.shape))), gain)
    larger = stored_bytes(layer, found) > stored_bytes(layer, DEFAULT_SCALAR)
    return DEFAULT_SCALAR if isinstance(layer, Unpacked) and larger else found


def _published_product(layer: Weighted, options: CompressOptions, output: bool) -> LayerOptions:
    """Q-CNN's setting for AlexNet: convolutions 8/128, linear layers 4/32, the last 1/16.

    ``--group`` and ``--words`` stand in for all of these but the last layer's. A layer of
    fewer channels is one subspace of them; one that does not fill the words takes fewer, and
    one that does not fill 16 keeps 8 bits.
    """
    shape, linear = layer.shape, layer.op == "Linear"
    columns = sub_columns(shape)
    if too_small(layer) or columns < min(WORDS):
        return EIGHT_BITS
    group, words = PUBLISHED_LINEAR if linear else PUBLISHED_CONV
    group, words = options.group or group, options.words or words
    if linear and output:
        group, words = PUBLISHED_LAST
    return ProductOptions(
        min(group, shape.inputs),
        min(words, most_words(columns)),
        procedure="paper-plain" if options.procedure == "paper-plain" else "paper",
    )
