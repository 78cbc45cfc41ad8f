"""A plan with its figures: for people, as comments beside the layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.plan_file import write_plan
from subbyte.files import write_atomic
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


def commented_plan(planned: Planned, layers: Sequence[Weighted]) -> str:
    """The plan as TOML; with a budget, each layer with its bits, bytes, time and harm."""
    notes = {row.layer.weight: _note(row) for row in plan_rows(planned, layers)}
    return write_plan(planned.plan, layers, summary(planned, layers), notes)


def _note(row: PlanRow) -> str:
    time = "" if row.milliseconds is None else f", {row.milliseconds:.3f} ms"
    return (
        f"{row.bits:.2f} bits a weight, {row.bytes} bytes{time}, harm {row.harm:.4f} "
        f"({100 * row.share:.0f}% of all)"
    )


@dataclass(frozen=True)
class NetworkPlan:
    """The plan of a network: its ``layers`` in the order in which they run, and ``planned``."""

    layers: tuple[Weighted, ...]
    planned: Planned

    @property
    def rows(self) -> list[PlanRow]:
        """`plan_rows` of the plan."""
        return plan_rows(self.planned, self.layers)

    @property
    def summary(self) -> list[str]:
        """The results of the plan, a sentence a line."""
        return summary(self.planned, self.layers)

    @property
    def text(self) -> str:
        """The plan as TOML, as ``compress`` reads it."""
        return commented_plan(self.planned, self.layers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `text` to the file ``path``, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        write_atomic(Path(path), self.text.encode())

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``subbyte plan --json`` writes them: ``summary``, ``layers`` (name,
        format, bits_per_weight, bytes, milliseconds, harm, share) and ``uncoded`` constants."""
        layers = [
            {
                "name": row.layer.name,
                "format": row.format,
                "bits_per_weight": row.bits,
                "bytes": row.bytes,
                "milliseconds": row.milliseconds,
                "harm": row.harm,
                "share": row.share,
            }
            for row in self.rows
        ]
        uncoded = [asdict(constant) for constant in self.planned.uncoded]
        return {"summary": self.summary, "layers": layers, "uncoded": uncoded}
