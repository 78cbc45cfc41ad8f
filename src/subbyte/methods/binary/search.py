"""Which layers may have binary weights and inputs, and the cost of that."""

from __future__ import annotations

from dataclasses import replace

from subbyte.errors import OptionError
from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.binarization import Binarization
from subbyte.methods.binary.form import BinaryOptions
from subbyte.methods.options import Given, MethodOptions
from subbyte.methods.scalar.form import EIGHT_BITS


def default(layer: LayerTraits, given: Given) -> MethodOptions | None:
    """The options as given; with the paper's procedure other weights than layers' stay at 8
    bits."""
    if layer.unpacked and given.get("procedure") == "paper":
        return EIGHT_BITS
    return None if layer.kept or not layer.binarizes else _options(layer, given)


def search(problem: SearchProblem, given: Given) -> list[Found]:
    """The options as given, where the layer's input can be binarized.

    The error is the weight's alone. The error of binarizing the input is much the same share of
    every layer's output, and hardly shifts the choice between layers.
    """
    layer, rows, energy = problem.layer, problem.rows, problem.energy
    if not layer.binarizes:
        return []
    counted = rows * energy[:, None, None]
    # With the best scale of each output: sum e w^2 - (sum e |w|)^2 / sum e.
    taken = (counted * rows.sign()).sum((2, 3)).square() / (
        energy.sum(1)[:, None] * layer.shape.taps
    ).clamp_min(1e-30)
    return [Found(_options(layer, given), float(((counted * rows).sum((2, 3)) - taken).sum()))]


def trained(binarization: Binarization) -> BinaryOptions:
    """The paper's encoding of a layer trained binary, with the options that it was trained for."""
    return BinaryOptions(binarization.order, binarization.scales, "paper")


def check(layer: LayerTraits, options: BinaryOptions) -> None:
    """The layer's input can be binarized so."""
    if not layer.binarizes:
        raise OptionError(
            "binary: the layer has no binary form",
            expected="a 2-D convolution with pads, or a linear layer with its weight on the right",
        )
    if layer.linear and options.scales != "column":
        raise OptionError(
            "binary: a row of a linear layer is one column",
            expected="scales column",
            got=options.scales,
        )


def _options(layer: LayerTraits, given: Given) -> BinaryOptions:
    """A row of a linear layer is a column, for every way to share scales."""
    found = BinaryOptions(**given)  # type: ignore[arg-type]
    return replace(found, scales="column") if layer.linear else found
