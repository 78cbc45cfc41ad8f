"""The bits of layers' planes: as stored, as their paper counts, by their entropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from subbyte.methods import METHODS
from subbyte.report.coded import packed_weights
from subbyte.report.stored import StoredModel


def count_planes(model: StoredModel, where: Path) -> dict[str, Any] | None:
    """Bits a weight of every layer that is stored in planes; None without any.

    Returns:
        ``layers``: a row per stored weight (name, planes in use, factored planes,
        stored_bits, and paper_bits and entropy_bits as `Method.planes` has them),
        ``total``: the three counts over all of them.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    packed = packed_weights(model, where)
    for node in packed.layers():
        count = METHODS[node.method].planes
        if count is None:
            continue
        if node.stored not in rows:
            weight = packed.weight(node)
            row = {"name": node.name, "weights": weight.shape.count}
            rows[node.stored] = row | dict(count(weight))
    return {"layers": list(rows.values()), "total": _total(list(rows.values()))} if rows else None


def _total(rows: list[dict[str, Any]]) -> dict[str, float]:
    count = sum(row["weights"] for row in rows)
    return {
        key: sum(row["weights"] * row[key] for row in rows) / count
        for key in ("stored_bits", "paper_bits", "entropy_bits")
    }
