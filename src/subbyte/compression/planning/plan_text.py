"""A plan with its figures: for people, as comments beside the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.plan_file import write_plan
from subbyte.graph.network import Weighted


@dataclass(frozen=True)
class PlanRow:
    """A layer of a plan. ``harm``: predicted error over the output's variance; ``share``: of
    the harm of all layers; ``milliseconds``: predicted, where there are timings."""

    layer: Weighted
    format: str
    bytes: int
    bits: float
    harm: float
    share: float
    milliseconds: float | None


def plan_rows(planned: Planned, layers: Sequence[Weighted]) -> list[PlanRow]:
    """One row a layer, where the plan was made for a budget; else none."""
    choice = planned.choice
    if choice is None:
        return []
    rows = []
    for layer in layers:
        found = choice.chosen[layer.weight]
        share = found.harm / choice.harm if choice.harm > 0 else 0.0
        bits = 8 * found.bytes / layer.shape.count
        time = None if found.seconds is None else 1e3 * found.seconds
        rows.append(
            PlanRow(layer, found.options.describe(), found.bytes, bits, found.harm, share, time)
        )
    return rows


def summary(planned: Planned, layers: Sequence[Weighted]) -> list[str]:
    """The results of the plan, a sentence a line."""
    choice = planned.choice
    if choice is None:
        return []
    stored = sum(candidate.bytes for candidate in choice.chosen.values())
    stored += sum(constant.nbytes for constant in planned.uncoded)
    count = sum(layer.shape.count for layer in layers)
    count += sum(constant.count for constant in planned.uncoded)
    return [
        f"budget: {planned.budget}",
        f"{8 * stored / count:.3f} bits per weight, {stored} bytes of weights",
        *(f"not coded: {constant}" for constant in planned.uncoded),
        f"predicted harm {choice.harm:.4f}, at most {100 * choice.gap:.2f}% above the least "
        "that any plan within the budget could have",
        *planned.facts,
    ]


def plan_text(planned: Planned, layers: Sequence[Weighted]) -> str:
    """The plan as TOML; with a budget, each layer with its bits, bytes, time and harm."""
    notes = {row.layer.weight: _note(row) for row in plan_rows(planned, layers)}
    return write_plan(planned.plan, layers, summary(planned, layers), notes)


def _note(row: PlanRow) -> str:
    time = "" if row.milliseconds is None else f", {row.milliseconds:.3f} ms"
    return (
        f"{row.bits:.2f} bits a weight, {row.bytes} bytes{time}, harm {row.harm:.4f} "
        f"({100 * row.share:.0f}% of all)"
    )
