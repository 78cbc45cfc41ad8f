"""The methods: how a weight is coded, packed, and unpacked again.

One row of `METHODS` a method. A method knows weights and their second moments; it knows
no graph and sees no samples. All that others may use of the methods is in this package's
own modules; nobody imports a method's folder.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from subbyte.errors import OptionError
from subbyte.methods.base import Found, Kernel, LayerTraits, Method, SearchProblem
from subbyte.methods.binarization import Binarization
from subbyte.methods.choice import (
    Binary,
    Composite,
    MethodChoice,
    Product,
    Scalar,
    Ternary,
    choices_of,
    read_choices,
)
from subbyte.methods.coded import CodedWeight, LookupTables, WeightShape
from subbyte.methods.fallback import EIGHT_BITS
from subbyte.methods.options import Fit, Given, MethodOptions
from subbyte.methods.registry import METHODS, method_of
from subbyte.methods.training import ScaledWeight, TrainableWeight

__all__ = [
    "EIGHT_BITS",
    "METHODS",
    "Binarization",
    "Binary",
    "CodedWeight",
    "Composite",
    "Fit",
    "Found",
    "Given",
    "Kernel",
    "LayerTraits",
    "LookupTables",
    "Method",
    "MethodChoice",
    "MethodOptions",
    "Product",
    "Scalar",
    "SearchProblem",
    "Ternary",
    "TrainableWeight",
    "WeightShape",
    "binarization_of",
    "blank_weight",
    "choices_of",
    "decode_weight",
    "encode_target",
    "method_of",
    "plain_options",
    "read_choices",
    "stored_bytes",
    "trainable",
    "trained_options",
]


def stored_bytes(shape: WeightShape, options: MethodOptions) -> int:
    """Bytes that a weight will take, or at most will where they depend on its numbers."""
    return METHODS[options.method].stored_bytes(shape, options)


def blank_weight(shape: WeightShape, options: MethodOptions) -> CodedWeight:
    """A coded weight of the right form, its numbers of no meaning."""
    return METHODS[options.method].blank(shape, options)


def encode_target(
    target: Tensor,
    moments: Tensor,
    shape: WeightShape,
    options: MethodOptions,
    seed: int,
    unpacked: bool = False,
) -> CodedWeight:
    """Code ``target`` W* [O, T, I] under moments H [groups, T*I, T*I]: the weights What of
    least tr((W* - What) H (W* - What)^T) that the method finds. ``unpacked``: nothing multiplies
    them as integers."""
    method = METHODS[options.method]
    encode = method.encode_unpacked if unpacked and method.encode_unpacked else method.encode
    return encode(target, moments, shape, options, seed)


def plain_options(method: Method) -> MethodOptions:
    """The options of a usual convolution, 64 outputs of 64 inputs and 3 x 3 taps, where neither a
    user nor a budget says more."""
    shape = WeightShape(64, 9, 64)
    layer = LayerTraits(shape, lambda: torch.zeros(64, 9, 64), binarizes=True)
    return method.default(layer, {}) or EIGHT_BITS


def trained_options(binarization: Binarization) -> MethodOptions:
    """The options of a layer that was trained with its input binarized so.

    Raises:
        OptionError: no method codes such a layer.
    """
    for method in METHODS.values():
        if method.trained is not None:
            return method.trained(binarization)
    raise OptionError("no method codes layers that were trained binary", got=binarization.variant)


def trainable(
    coded: CodedWeight, *, move: bool = False, reference: Tensor | None = None
) -> TrainableWeight:
    """The module whose ``forward()`` is the weight [O, T, I] and whose ``coded()`` packs it.

    ``move``: codes may change where the method can train them. ``reference``: the float weight,
    which latent factors recover. Where a method has no module of its own, the scales are trained.
    """
    method = METHODS[coded.method]
    if method.trainable is None:
        return ScaledWeight(coded, method.decode(coded))
    return method.trainable(coded, move=move, reference=reference)


def binarization_of(coded: CodedWeight) -> Binarization | None:
    """How the input of a layer with this weight is binarized, if it is."""
    return METHODS[coded.method].binarization(coded.variant)


def decode_weight(coded: CodedWeight) -> NDArray[np.float32]:
    """The effective float weight [O, T, I]: scale[o] * integer weight[o, t, i]."""
    method = METHODS[coded.method]
    integers = method.decode(coded).astype(np.float32)
    return integers * method.scale(coded)[:, None, None]
