"""The tables of docs/results/kernels.md, from the record of `benchmarks.native_layers`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.pages.markdown import table

_Side = dict[str, Any]
# The peers that linear layers are held against: which sides, and the column's name.
_PEERS: dict[str, Callable[[str], bool]] = {
    "best int8": lambda name: name.endswith(" int8"),
    "best 4-bit peer": lambda name: " 4-bit" in name,
    "onnxruntime 2-bit": lambda name: name.startswith("onnxruntime 2-bit"),
}


def layers_table(record: dict[str, Any]) -> str:
    """A row a layer: microseconds, times faster than the best int8, share of the ceiling; and the
    ceilings, where they were measured."""
    sides = list(dict.fromkeys(side for row in record["layers"] for side in row["sides"]))
    peers = [side for side in sides if side.endswith("int8")]
    ours = [side for side in sides if side not in peers]
    rows = []
    for row in record["layers"]:
        cells = [_conv_cell(row["sides"].get(side), None) for side in peers]
        cells += [_conv_cell(row["sides"].get(side), row["best_int8_us"]) for side in ours]
        rows.append([row["layer"], *cells])
    lines = [_where(record), "", *table(("layer", *peers, *ours), rows)]
    return "\n".join([*lines, *_ceilings(record["layers"])])


def linear_table(record: dict[str, Any]) -> str:
    """A row a layer and side, the fastest last."""
    columns = ("layer", "side", "bits", "microseconds", *(f"x {name}" for name in _PEERS))
    rows = []
    for row in record["linear"]:
        sides = sorted(row["sides"].items(), key=lambda item: -item[1]["median_us"])
        best = [_best(row["sides"], matches) for matches in _PEERS.values()]
        for name, side in sides:
            ratios = [f"{us / side['median_us']:.2f}" for us in best]
            share = [f"{side['gigabytes']:.1f}", _percent(side)]
            cells = [row["layer"], name, f"{side['bits']:g}", f"{side['median_us']:.0f}"]
            rows.append([*cells, *ratios, *share])
    return "\n".join([_where(record), "", *table((*columns, "GB/s", "of memory"), rows)])


def _ceilings(layers: list[dict[str, Any]]) -> list[str]:
    """Multiply-adds a second, the median over the layers; a look-up of d channels counts d."""
    found = [row["ceilings"] for row in layers if "ceilings" in row]
    if not found:
        return []
    look_up, count, multiply = (
        statistics.median(row[name] for row in found) for name in ("look_up", "count", "multiply")
    )
    return [
        "",
        f"Ceilings, 10^9 multiply-adds a second: {8 * look_up:.0f} for d = 8, "
        f"{4 * look_up:.0f} for d = 4, {2 * look_up:.0f} for d = 2, {count:.0f} for one binary "
        f"order, {multiply:.0f} for int8.",
    ]


def _best(sides: dict[str, _Side], matches: Callable[[str], bool]) -> float:
    return min(float(side["median_us"]) for name, side in sides.items() if matches(name))


def _conv_cell(side: _Side | None, best: float | None) -> str:
    """Microseconds, and in brackets the ratio to ``best`` and the share of the ceiling."""
    if side is None:
        return "-"
    notes = [] if best is None else [f"{best / side['median_us']:.2f}x"]
    notes += [_percent(side)] if "share" in side else []
    return f"{side['median_us']:.0f}" + (f" ({', '.join(notes)})" if notes else "")


def _percent(side: _Side) -> str:
    return f"{100 * side['share']:.0f} %" if "share" in side else "-"


def _where(record: dict[str, Any]) -> str:
    where = f"{record['system']['cpu']}, level {record['level']}, {record['threads']} thread, "
    where += ", ".join(f"{name} {version}" for name, version in record["peers"].items())
    missing = record["no_ceilings"]
    return where + (f"; ceilings not measured: {missing}:" if missing else ":")
