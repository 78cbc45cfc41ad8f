"""From a layer's options to its coded weight: the one place that knows every encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from subbyte.compression.calibration.moments import Target
from subbyte.compression.device import few_threads
from subbyte.errors import OptionError
from subbyte.graph.network import Weighted
from subbyte.methods import CodedWeight, WeightShape, blocks, decode_weight
from subbyte.methods.binary import encode as binary_encode
from subbyte.methods.binary import form as binary_form
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.coded import rescale
from subbyte.methods.composite import encode as composite_encode
from subbyte.methods.composite import form as composite_form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.product import encode as product_encode
from subbyte.methods.product import form as product_form
from subbyte.methods.product.form import ProductOptions
from subbyte.methods.scalar import encode as scalar_encode
from subbyte.methods.scalar import form as scalar_form
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.methods.ternary import encode as ternary_encode
from subbyte.methods.ternary import form as ternary_form
from subbyte.methods.ternary.form import TernaryOptions

LayerOptions = ProductOptions | ScalarOptions | TernaryOptions | CompositeOptions | BinaryOptions


LEAST_SPREAD = 1e-3

Fit = Literal["corrected", "responses", "weights"]
"""What a layer is fitted to: ``corrected`` (ours), W* with a new bias, shortcuts made good
and outputs balanced; ``responses``, W* alone, the bias kept (Q-CNN's error correction);
``weights``, the float weight itself, the bias kept."""


def encode_weight(
    layer: Weighted,
    target: Target,
    options: LayerOptions,
    seed: int,
    balanced: bool = False,
    spread: Tensor | None = None,
) -> tuple[CodedWeight, float]:
    """Code a layer's target; also its relative error tr(E H E^T) / tr(W* H W*^T).

    ``balanced``: every output's error counts relative to that output's own spread, not to
    the largest's. Right for a network's outputs: nothing behind them weighs them, and a
    quiet class is a class like any other. ``spread`` [O], instead: what every output's error
    counts relative to.
    """
    given = spread is not None
    if spread is None:
        spread = _spread(target) if balanced else torch.ones_like(target.weight[:, 0, 0])
    weight = target.weight / spread[:, None, None]
    try:
        with few_threads(target.moments.shape[1]):
            coded = _encode(weight, target.moments, layer.shape, options, seed)
    except OptionError as error:
        raise OptionError(
            error.what, where=layer.name, expected=error.expected, got=error.got
        ) from error
    if balanced or given:
        coded = rescale(coded, spread.cpu().numpy())
    return coded, relative_error(target, coded)


def _encode(
    weight: Tensor, moments: Tensor, shape: WeightShape, options: LayerOptions, seed: int
) -> CodedWeight:
    if isinstance(options, ProductOptions):
        return product_encode.encode(weight, moments, shape, options, seed)
    if isinstance(options, TernaryOptions):
        return ternary_encode.encode(weight, moments, shape, options, seed)
    if isinstance(options, CompositeOptions):
        return composite_encode.encode(weight, moments, shape, options, seed)
    if isinstance(options, BinaryOptions):
        return binary_encode.encode(weight, moments, shape, options, seed)
    return scalar_encode.encode(weight, moments, shape, options, seed)


_Published = ProductOptions | CompositeOptions | BinaryOptions


def fit_of(options: LayerOptions, published: bool) -> Fit:
    """What a layer of these options is fitted to; ``published``: in a plan that names a
    paper's procedure, in which layers kept at 8 bits are rounded and no more."""
    if isinstance(options, _Published) and options.procedure != "corrected":
        q_cnn = isinstance(options, ProductOptions) and options.procedure == "paper"
        return "responses" if q_cnn else "weights"
    if isinstance(options, ScalarOptions) and (published or options.exact):
        return "weights"
    return "corrected"


def names_procedure(plan: Iterable[LayerOptions]) -> bool:
    """Whether a layer is coded by a paper's own procedure for weights that were not trained
    for it (binary ones may have been: the layers between are fitted as ever then)."""
    return any(
        isinstance(options, ProductOptions | CompositeOptions) and options.procedure != "corrected"
        for options in plan
    )


def _spread(target: Target) -> Tensor:
    """Standard deviation [O] of each output, the smallest ones raised."""
    rows = target.weight.reshape(len(target.moments), -1, target.moments.shape[1])
    variance = ((rows @ target.moments) * rows).sum(2).reshape(-1)
    spread = variance.clamp_min(0).sqrt()
    return spread.clamp_min(LEAST_SPREAD * float(spread.max()) + 1e-20)


def relative_error(target: Target, coded: CodedWeight) -> float:
    """tr(E H E^T) / tr(W* H W*^T) with E = W* - What, summed over convolution groups."""
    groups = len(target.moments)
    wanted = target.weight.reshape(groups, -1, target.moments.shape[1])
    decoded = torch.from_numpy(decode_weight(coded)).to(wanted.device)
    error = wanted - decoded.reshape(wanted.shape)
    return blocks.relative_error(error, wanted, target.moments)


def stored_bytes(layer: Weighted, options: LayerOptions) -> int:
    """Bytes the layer's weight will take, or at most will: a composite weight's planes differ."""
    if isinstance(options, ProductOptions):
        return product_form.stored_bytes(layer.shape, options)
    if isinstance(options, TernaryOptions):
        return ternary_form.stored_bytes(layer.shape, options)
    if isinstance(options, CompositeOptions):
        return composite_form.most_bytes(layer.shape, options)
    if isinstance(options, BinaryOptions):
        return binary_form.stored_bytes(layer.shape, options)
    return scalar_form.stored_bytes(layer.shape, options)
