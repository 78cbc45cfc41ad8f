"""Which scalar grids a layer may have: by default 4 bits, for a budget 2 to 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from subbyte.errors import OptionError, WeightError
from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.options import Given
from subbyte.methods.scalar.exact import least_bits
from subbyte.methods.scalar.form import BITS, EIGHT_BITS, TOP_BITS, ScalarOptions

DEFAULT_BITS = 4
SHARES = 16


def default(layer: LayerTraits, given: Given) -> ScalarOptions:
    """4 bits unless ``bits`` says otherwise; ``exact``: the fewest that hold the weight, or 8."""
    if given.get("exact"):
        bits = least_bits(layer.weight())
        return EIGHT_BITS if bits is None else ScalarOptions(bits, exact=True)
    return EIGHT_BITS if layer.kept else ScalarOptions(int(given.get("bits", DEFAULT_BITS)))


def search(problem: SearchProblem, given: Given) -> list[Found]:
    """Grids of 2, 3 and 4 bits, or of ``bits`` alone."""
    widths = [bits for bits in BITS if bits == given.get("bits", bits)]
    return grids(problem, [bits for bits in widths if bits < TOP_BITS])


def grids(problem: SearchProblem, widths: Sequence[int] = BITS) -> list[Found]:
    """Grids of so many bits."""
    forms = [ScalarOptions(bits) for bits in widths]
    return [Found(form, grid_error(problem, form)) for form in forms]


def grid_error(problem: SearchProblem, form: ScalarOptions) -> float:
    """Predicted output energy of the error on the best of a few symmetric grids per output."""
    rows = problem.rows
    largest = rows.abs().amax((2, 3), keepdim=True).clamp_min(1e-12)
    top = (1 << form.bits) - 1
    best = torch.full_like(largest[..., 0, 0], torch.inf)
    for share in torch.linspace(0.25, 1.0, SHARES):
        step = largest * share.item() / top
        snapped = (((rows / step + top) / 2).round().clamp(0, top) * 2 - top) * step
        cost = ((rows - snapped).square() * problem.energy[:, None, None]).sum((2, 3))
        best = torch.minimum(best, cost)
    return float(best.sum())


def check_given(given: Given, budget: str | None) -> None:
    """``exact`` keeps weights as they are: it takes no budget, and no bits."""
    if not given.get("exact"):
        return
    for name in (budget, "bits" if "bits" in given else None):
        if name is not None:
            raise OptionError(f"scalar: {name} and exact exclude each other")


def check_network(layers: Sequence[LayerTraits], given: Given) -> None:
    """``exact`` needs a layer whose weights lie on a grid."""
    if given.get("exact") and not any(least_bits(layer.weight()) for layer in layers):
        raise WeightError(
            "scalar: exact, but no layer's weights lie on a grid",
            expected="levels of 2, 3 or 4 bits times a scale per output",
        )
