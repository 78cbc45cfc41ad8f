"""Which planes and limits a composite weight may have."""

from __future__ import annotations

import torch

from subbyte.errors import OptionError
from subbyte.methods.base import Found, LayerTraits, SearchProblem
from subbyte.methods.composite import encode, form
from subbyte.methods.composite.form import CompositeOptions
from subbyte.methods.options import Given, MethodOptions
from subbyte.methods.scalar.form import EIGHT_BITS

# The paper: 5 to 8; of these what int8 allows.
DEFAULT_PLANES = {"corrected": 4, "paper": 6}
STEPS = 24
# Fitted levels take a little more than rounded ones; a layer never takes more than its limit.
SPARE = 1.01


def default(layer: LayerTraits, given: Given) -> MethodOptions | None:
    """4 planes, the paper's procedure 6; with that, other weights than layers' stay at 8 bits."""
    procedure = str(given.get("procedure", "corrected"))
    if layer.unpacked and procedure == "paper":
        return EIGHT_BITS
    if layer.kept:
        return None
    wanted: dict[str, object] = {"planes": DEFAULT_PLANES[procedure], **given}
    return CompositeOptions(**wanted)  # type: ignore[arg-type]


def search(problem: SearchProblem, given: Given) -> list[Found]:
    """Limits in bits, each from a step of the layer: from the finest that the planes allow to
    one at which few weights are left, with bytes and error of plain rounding."""
    shape, weight = problem.layer.shape, problem.weight
    planes = int(given.get("planes", form.MOST_PLANES))
    finest = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / ((1 << planes) - 1)
    low = float(finest.min())
    high = max(4 * low, 3 * float(weight.square().mean().sqrt()))
    found = []
    for share in torch.linspace(0, 1, STEPS):
        scale = finest.clamp_min(low * (high / low) ** float(share))
        levels = encode.round_levels(weight, scale)
        taken = form.stored_bytes(levels, shape, {})
        bits = min(form.MOST_BITS, round(SPARE * 8 * taken / shape.count, 3))
        error = weight - torch.from_numpy(levels).to(weight) * scale[:, None, None]
        rows = error.reshape(shape.groups, -1, shape.taps, shape.inputs)
        lost = float((rows.square() * problem.energy[:, None, None]).sum())
        found.append(Found(CompositeOptions(planes, bits=bits), lost))
    return found


def check_given(given: Given, budget: str | None) -> None:
    """The paper's procedure has a bottleneck and takes no budget; a budget sets the bits."""
    published = given.get("procedure") == "paper"
    if "bottleneck" in given and not published:
        raise OptionError("composite: bottleneck belongs to procedure paper")
    if budget is None:
        return
    if published:
        raise OptionError(f"composite: {budget} and procedure paper exclude each other")
    if "bits" in given:
        raise OptionError(f"composite: {budget} and the option bits exclude each other")
