"""The page of benchmarks/tradeoffs.py: trade-offs, and plans against single forms."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.pages.markdown import table
from benchmarks.records import Record, machines

_HEADER = (
    "# Trade-offs",
    "",
    "Made by `python -m benchmarks.tables` from `benchmarks/results/tradeoffs/*.json`, which",
    "`python -m benchmarks.tradeoffs` writes: all points of one `subbyte explore`, `product` with",
    "8-bit activations, no tuning. *divergence*: KL(float || compressed) in nats on test samples;",
    "for other outputs than class scores, squared error over variance.",
)
_FORMS_HEADER = (
    "## The plan against one format for all layers",
    "",
    "The format one would choose by hand (d: channels a code, g: gain bits), coded from the same",
    "samples by the same encoder, and the point of `subbyte explore` at just its bits.",
    "Where a format at more bits is hardly closer than another (codebooks of their own for narrow",
    "layers), it is easy to beat. *by trial*: by `subbyte compress --bits B --trials 4`, from the",
    "same samples.",
)
_SEEDS_HEADER = (
    "## The same, with several seeds",
    "",
    "Files of one plan differ from seed to seed: means of formats, and of `subbyte compress --bits",
    "B` for their bits, and the ranges.",
)


def tradeoffs_page(records: Sequence[Record]) -> str:
    """The whole page."""
    lines = [*_HEADER, "", *_FORMS_HEADER, ""]
    columns = (
        "network",
        "format",
        "bits",
        "divergence, format",
        "plan",
        "lower by",
        "by trial",
        "lower by",
    )
    pairs = [(record, *pair) for record in records for pair in equal_bits(record)]
    lines += table(columns, (_form_row(*pair) for pair in pairs))
    rows = [_seeds_row(record, row) for record in records for row in _seeds(record)]
    if rows:
        judged = ("network", "format", "bits", "judged", "divergence, format", "plan", "lower by")
        lines += ["", *_SEEDS_HEADER, "", *table(judged, rows)]
    for record in records:
        lines += ["", f"## {record['network']}", "", *_points(record)]
    return "\n".join([*lines, "", *machines(records), ""])


def equal_bits(record: Record) -> list[tuple[Record, Record]]:
    """Each single format, and the point that was planned for its bits."""
    return [
        (form, min(record["points"], key=lambda point: abs(point["bits"] - form["bits"])))
        for form in record["forms"]
    ]


def _form_row(record: Record, form: Record, point: Record) -> list[str]:
    ours, theirs = point["divergence"], form["divergence"]
    cells = [record["network"], form["name"], f"{form['bits']:.2f}", f"{theirs:.4f}"]
    cells += [f"{ours:.4f}", _lower(ours, theirs)]
    tried = next(
        (t["divergence"] for t in record.get("tried", ()) if t["name"] == form["name"]), None
    )
    return [*cells, *(("", "") if tried is None else (f"{tried:.4f}", _lower(tried, theirs)))]


def _seeds(record: Record) -> list[Record]:
    rows: list[Record] = record["seeds"]["rows"] if "seeds" in record else []
    return rows


def _seeds_row(record: Record, row: Record) -> list[str]:
    cells = [record["network"], row["name"], f"{row['bits']:.2f}", f"{record['seeds']['judged']}"]
    cells += [_range(row["forms"]), _range(row["plans"])]
    return [*cells, _lower(statistics.fmean(row["plans"]), statistics.fmean(row["forms"]))]


def _range(found: Sequence[float]) -> str:
    return f"{statistics.fmean(found):.4f} ({min(found):.4f} to {max(found):.4f})"


def _lower(ours: float, theirs: float) -> str:
    return f"{100 * (1 - ours / theirs):.0f} %"


def _points(record: Record) -> list[str]:
    samples, before = record["samples"], record["float"]
    said = (
        f"Coded from three quarters of {samples['calibration']} samples; divergence on "
        f"{samples['judged']} test samples. "
        f"Float: {record['metric']} {before['metric']:.2f}, {before['file_bytes'] / 1e3:,.0f} kB."
    )
    columns = ("bits", "kB", "smaller", record["metric"], "divergence", "agreement", "native ms")
    return [said, "", *table(columns, (_point_row(point, before) for point in record["points"]))]


def _point_row(point: Record, before: Record) -> list[str]:
    agreement, latency = point["agreement"], point.get("latency_ms")
    return [
        f"{point['bits']:.2f}",
        f"{point['file_bytes'] / 1e3:,.0f}",
        f"{before['file_bytes'] / point['file_bytes']:.1f}x",
        f"{point['metric']:.2f}",
        f"{point['divergence']:.4f}",
        "" if agreement is None else f"{agreement:.1f} %",
        "" if latency is None else f"{latency:.2f}",
    ]
